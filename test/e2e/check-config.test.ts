/** The environment is checked as a whole before anything is connected to, and no command sends invented accounts to a real API. */
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { runCommandLine } from "../../src/cli/command-line.ts";
import { reportError } from "../../src/cli/error-report.ts";
import { startProcess } from "../support/process.ts";

/** Counts who connects, and answers nothing. */
let server: Server;
let connections = 0;
let url: string;
/** Without a .data/ of a start. */
let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "account-sync-test-check-config-"));
  server = createServer((socket) => {
    connections += 1;
    socket.destroy();
  });
  await new Promise<void>((resolve) => {
    server.listen(0, "127.0.0.1", resolve);
  });
  const address = server.address();
  url = `127.0.0.1:${typeof address === "object" ? address?.port : 0}`;
});

afterAll(async () => {
  await new Promise((resolve) => {
    server.close(resolve);
  });
  await rm(folder, { recursive: true, force: true });
});

const SECRETS = {
  CUSTOMER_API_CLIENT_ID: "canary-client",
  CUSTOMER_API_CLIENT_SECRET: "canary-secret",
  CUSTOMER_API_HEADERS: '{"X-Key":"canary-key"}',
  HTTP_TOKEN: "canary-token",
};

function validEnvironment() {
  return {
    DATABASE_URL: `postgres://app:canary-password@${url}/crm?sslmode=disable&password=canary-other`,
    CUSTOMER_API_URL: `http://canary-user:canary-password@${url}/v1?key=canary-query`,
    SYNC_LEASE_MS: "5000",
    ...SECRETS,
  };
}

describe("check-config", () => {
  test("says of a valid environment what it sets, without a secret and without connecting", async () => {
    const { code, stdout, stderr } = await run(["check-config"], validEnvironment());

    expect([code, stderr]).toEqual([0, ""]);
    expect(stdout).toMatch(/^The configuration is valid\./);
    expect(stdout).toMatch(new RegExp(`DATABASE_URL +${url}/crm +environment`));
    expect(stdout).toMatch(/SYNC_LEASE_MS +5000 +environment/);
    expect(stdout).not.toContain("canary");
    expect(connections).toBe(0);
  });

  test("with --json lists every setting with where it comes from", async () => {
    const { code, stdout } = await run(["check-config", "--json"], validEnvironment());

    expect(code).toBe(0);
    expect(stdout).not.toContain("canary");
    const { settings, ...report } = JSON.parse(stdout);
    expect(report).toEqual({ valid: true, problems: [], unknown: [], warnings: [] });
    expect(settings).toEqual(
      expect.arrayContaining([
        { name: "CUSTOMER_API_URL", value: `http://${url}/v1`, from: "environment" },
        { name: "HTTP_TOKEN", value: "(hidden)", from: "environment" },
        { name: "HTTP_PORT", value: 9464, from: "default" },
        { name: "CUSTOMER_API_TOKEN", value: null, from: "default" },
      ]),
    );
  });

  test.each([
    ["postgres:///crm?host=/run/postgresql", "/run/postgresql, database crm"],
    ["postgres://app:canary@/crm?host=/cloudsql/a:b:c", "/cloudsql/a:b:c, database crm"],
    ["postgres://app:canary@db.example.com/crm?sslmode=verify-full", "db.example.com:5432/crm"],
  ])("shows where %s leads to, and no password", async (databaseUrl, place) => {
    const { code, stdout } = await run(["check-config", "--json"], { DATABASE_URL: databaseUrl });

    const { settings } = JSON.parse(stdout);
    expect(code).toBe(0);
    expect(settings).toContainEqual({ name: "DATABASE_URL", value: place, from: "environment" });
    expect(stdout).not.toContain("canary");
  });

  test("warns of a drain that leaves creates to a person, where they would be parked", async () => {
    const short = { ...validEnvironment(), SYNC_SHUTDOWN_TIMEOUT_MS: "20000" };

    const text = await run(["check-config"], short);
    const json = await run(["check-config", "--json"], short);
    const resending = await run(["check-config"], {
      ...short,
      CUSTOMER_API_UNKNOWN_OUTCOME: "resend",
    });

    expect([text.code, json.code]).toEqual([0, 0]);
    expect(text.stderr).toMatch(
      /^warning: SYNC_SHUTDOWN_TIMEOUT_MS \(20000\) is shorter than CUSTOMER_API_TIMEOUT_MS \(120000\): .* a grace of 132 s\.\n$/,
    );
    expect(JSON.parse(json.stdout)).toMatchObject({
      valid: true,
      warnings: [expect.stringContaining("SYNC_SHUTDOWN_TIMEOUT_MS (20000)")],
    });
    expect(resending).toMatchObject({ code: 0, stderr: "" });
  });

  test("with nothing set has nothing to object to", async () => {
    const { code, stdout } = await run(["check-config"], {});

    expect(code).toBe(0);
    expect(stdout).toContain("Every setting has its default");
  });

  test("lists every problem and every unknown variable, and ends with 2", async () => {
    const environment = {
      DATABASE_URL: "mysql://app:canary@host/app",
      HTTP_TOKEN: "canary",
      SNYC_LEASE_MS: "canary",
      LOG_DIRECTORY: "canary",
    };

    const text = await run(["check-config"], environment);
    const json = await run(["check-config", "--json"], environment);

    expect([text.code, json.code]).toEqual([2, 2]);
    expect(text.stdout.split("\n")).toEqual([
      "The configuration has 4 problems:",
      expect.stringContaining("DATABASE_URL must be a URL like"),
      "  HTTP_TOKEN must have at least 8 characters",
      expect.stringContaining("SNYC_LEASE_MS is not a setting"),
      expect.stringContaining("LOG_DIRECTORY is not a setting"),
      "docs/reference/settings.md lists every setting.",
      "",
    ]);
    expect(JSON.parse(json.stdout)).toMatchObject({
      valid: false,
      problems: [expect.stringContaining("DATABASE_URL"), expect.stringContaining("HTTP_TOKEN")],
      unknown: [{ name: "SNYC_LEASE_MS", nearest: "SYNC_LEASE_MS" }, { name: "LOG_DIRECTORY" }],
      settings: [],
    });
    expect(text.stdout + json.stdout).not.toContain("canary");
  });

  test("an unknown variable alone is enough", async () => {
    const { code, stdout } = await run(["check-config"], { DATABSE_URL: "postgres://host/app" });

    expect(code).toBe(2);
    expect(stdout).toContain("DATABSE_URL is not a setting of account-sync and is ignored");
  });
});

test("no command takes an API without a database, and none connects to it or starts an embedded one", async () => {
  const help = await run(["--help"], {});
  const commands = [...help.stdout.matchAll(/^ {2}([a-z][a-z-]+)(.*?)(?: {2}|$)/gm)].map(
    ([, name = "", takes = ""]) => [
      name,
      ...[...takes.matchAll(/[<[](?!options)[^>\]]+[>\]]/g)].map(() => "1"),
    ],
  );
  const names = commands.map(([name]) => name);
  expect(names).toEqual(expect.arrayContaining(["start", "sync", "doctor", "check-config"]));
  // Neither reads the configuration.
  const reading = commands.filter(([name = ""]) => !["help", "sandbox"].includes(name));

  const environment = {
    CUSTOMER_API_URL: `http://${url}`,
    CUSTOMER_API_INSECURE: "true",
    DATABSE_URL: `postgres://app:canary@${url}/crm`,
  };
  const ended = [];
  for (const args of [...reading, ["sql"]]) {
    const { code, said } = await runHere(args, environment);
    ended.push({
      args,
      // As of anything else that doctor finds, its exit code is 1.
      code: args[0] === "doctor" && code === 1 ? 2 : code,
      isRefused: /DATABASE_URL is missing.* DATABSE_URL is set/.test(said),
      hasLeaked: said.includes("canary"),
    });
  }

  const refused = { code: 2, isRefused: true, hasLeaked: false };
  expect(ended).toEqual(ended.map(({ args }) => ({ args, ...refused })));
  expect(connections).toBe(0);
  expect(await readdir(folder)).toEqual([]);
});

/** In this process, which is quicker: a command that goes on would hang, and would connect. */
async function runHere(args: readonly string[], environment: Readonly<Record<string, string>>) {
  const said: string[] = [];
  const write = (text: unknown) => said.push(String(text)) > 0;
  const spies = [process.stdout, process.stderr].map((stream) =>
    vi.spyOn(stream, "write").mockImplementation(write),
  );
  try {
    const code = await runCommandLine(["node", "main.ts", ...args], {
      environment,
      leave: () => {},
    }).catch((error: unknown) => reportError(error, false));
    return { code, said: said.join("") };
  } finally {
    for (const spy of spies) spy.mockRestore();
  }
}

async function run(args: readonly string[], env: Readonly<Record<string, string>>) {
  const running = startProcess({ args, env, cwd: folder });
  const { code } = await running.exit;
  const toText = (lines: readonly string[]) => lines.map((line) => `${line}\n`).join("");
  return { code, stdout: toText(running.stdout), stderr: toText(running.stderr) };
}
