/**
 * `npm start` with nothing configured, in an empty folder: everything is brought along, can be tried out by pasting what it prints,
 * is kept for the next time, and goes away with the process.
 */
import { execFile } from "node:child_process";
import { once } from "node:events";
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { eventually } from "../support/eventually.ts";
import { type RunningProcess, startProcess } from "../support/process.ts";
import { readMetric } from "../support/product.ts";

const HEAD_OFFICE = "11111111-1111-4111-8111-111111111111";
const SHOP = "33333333-3333-4333-8333-333333333333";

const folders: string[] = [];

afterAll(async () => {
  for (const folder of folders) {
    await eventually(async () => expect(await processesOf(folder)).toEqual([]));
    // A server whose parent was killed writes for up to a second more.
    await rm(folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
  }
});

describe("the first start", () => {
  let folder: string;
  let started: RunningProcess;
  let url: string;

  beforeAll(async () => {
    folder = await emptyFolder();
    started = startIn(folder);
    url = await urlOf(started);
  });

  afterAll(async () => {
    started.signal("SIGTERM");
    await started.exit;
  });

  test("brings sample accounts, tiers and PICs to the API", async () => {
    for (const entity of ["account", "tier", "pic"]) {
      await eventually(async () =>
        expect(await readMetric(url, "updated_total", { entity })).toBeGreaterThanOrEqual(3),
      );
    }

    const { stdout } = await command(folder, ["sql"], "select uuid_be from m_account;");
    expect(stdout).not.toContain("null");
    expect(stdout).toContain("(3 rows)");
  });

  test("prints three lines that can be pasted into another terminal", async () => {
    const lines = started.stdout.filter((line) => line.startsWith("    "));
    expect(lines).toHaveLength(3);
    const [edit = "", status = "", prompt = ""] = lines;
    const updatedBefore = await readMetric(url, "api_requests_total", { operation: "update" });

    const edited = await paste(folder, edit);
    const shown = await paste(folder, status);
    const asked = await paste(folder, `echo 'select 6 * 7 as answer;' | ${prompt.trim()}`);

    expect(edited).toContain("UPDATE 1");
    expect(shown).toMatch(/pending|captured/);
    expect(asked).toContain("42");
    await eventually(async () =>
      expect(await readMetric(url, "api_requests_total", { operation: "update" })).toBeGreaterThan(
        updatedBefore,
      ),
    );
  });

  test("serves the commands: they find its database and its sandbox", async () => {
    const { stdout } = await command(folder, ["sync", SHOP]);

    expect(JSON.parse(stdout)).toMatchObject({ success: true, accountId: SHOP, outcome: "synced" });
  });

  test("is the only one in its folder: another is one clear error", async () => {
    const second = startIn(folder);

    expect(await second.exit).toEqual({ code: 1, signal: null });
    expect(second.stderr[0]).toBe(
      `error: account-sync already runs on ${join(folder, ".data")}, as process ${started.pid}.`,
    );
    expect(second.stderr).toHaveLength(2);
    expect((await fetch(`${url}/readyz`)).status).toBe(200);
  });
});

test("started again it keeps its data, and inserts no samples again", async () => {
  const folder = await emptyFolder();
  const first = startIn(folder);
  const firstUrl = await urlOf(first);
  await eventually(async () =>
    expect(await readMetric(firstUrl, "updated_total", { entity: "account" })).toBe(3),
  );
  await command(
    folder,
    ["sql"],
    `delete from m_account_pic where account_id = '${SHOP}';
     delete from m_account_address where account_id = '${SHOP}';
     delete from m_account where id = '${SHOP}';`,
  );
  const idsBefore = await command(folder, ["sql"], "select id, uuid_be from m_account order by 1;");
  const sandboxBefore = first.stdout.find((line) => line.includes("/sandbox/customers"));
  first.signal("SIGTERM");
  expect(await first.exit).toEqual({ code: 0, signal: null });
  expect(await processesOf(folder)).toEqual([]);

  const second = startIn(folder);
  await urlOf(second);

  const idsAfter = await command(folder, ["sql"], "select id, uuid_be from m_account order by 1;");
  expect(idsAfter.stdout).toBe(idsBefore.stdout);
  expect(idsAfter.stdout).toContain("(2 rows)");
  expect(second.stdout).toContain(sandboxBefore);

  second.signal("SIGKILL");
  const killedAt = performance.now();
  await eventually(async () => expect(await processesOf(folder)).toEqual([]), { timeoutMs: 5_000 });
  expect(performance.now() - killedAt).toBeLessThan(1_500);
});

test("told to leave while it starts, it leaves nothing behind", async () => {
  const folder = await emptyFolder();
  const starting = startIn(folder);
  await starting.waitForLine(/starting an embedded PostgreSQL/);

  starting.signal("SIGINT");

  expect(await starting.exit).toEqual({ code: 0, signal: null });
  await eventually(async () => expect(await processesOf(folder)).toEqual([]));
});

test("npm start passes SIGTERM on, and ends with what it started", async () => {
  const folder = await emptyFolder();
  const checkout = fileURLToPath(new URL("../..", import.meta.url));
  const { scripts } = JSON.parse(await readFile(join(checkout, "package.json"), "utf8"));
  const script = String(scripts.start).replace("src/main.ts", `${checkout}src/main.ts`);
  await writeFile(join(folder, "package.json"), JSON.stringify({ scripts: { start: script } }));
  const npm = startProcess({
    script: await npmScript(),
    args: ["start"],
    cwd: folder,
    env: { HTTP_PORT: "0" },
  });
  await urlOf(npm);

  npm.signal("SIGTERM");

  expect(await npm.exit).toEqual({ code: 0, signal: null });
  expect(npm.stdout.some((line) => line.includes('"msg":"stopped"'))).toBe(true);
  expect(await processesOf(folder)).toEqual([]);
});

test("a port in use is one clear error, and the database stops again", async () => {
  const folder = await emptyFolder();
  const other = createServer().listen(0, "127.0.0.1");
  await once(other, "listening");
  const address = other.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;

  const refused = startIn(folder, { HTTP_PORT: String(port) });

  expect(await refused.exit).toEqual({ code: 1, signal: null });
  expect(refused.stderr.join("\n")).toMatch(
    /HTTP_PORT \d+ on 127\.0\.0\.1 is in use.*\n.*HTTP_PORT/,
  );
  expect(await processesOf(folder)).toEqual([]);
  other.close();
});

test("without a running start, commands say what to do", async () => {
  const folder = await emptyFolder();

  const status = startProcess({ args: ["sync", HEAD_OFFICE, "--json"], cwd: folder });

  expect(await status.exit).toEqual({ code: 1, signal: null });
  expect(status.stdout).toEqual([]);
  expect(JSON.parse(status.stderr.join("\n"))).toEqual({
    error: expect.stringContaining("DATABASE_URL is not set"),
    hint: expect.stringContaining("account-sync start"),
  });
});

test("while a start is under way, commands say so", async () => {
  const folder = await emptyFolder();
  await mkdir(join(folder, ".data"));
  await writeFile(join(folder, ".data/owner"), `{"pid":${process.pid},"state":"starting"}\n`);

  const status = startProcess({ args: ["status"], cwd: folder });

  expect(await status.exit).toEqual({ code: 1, signal: null });
  expect(status.stderr).toEqual([
    `error: account-sync is being started on ${join(folder, ".data")} by process ${process.pid}.`,
    "       Its database is not there at this moment: try again in a few seconds.",
  ]);
});

async function emptyFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "account-sync-test-start-"));
  // Started by root, the server is another user's.
  await chmod(folder, 0o755);
  folders.push(folder);
  return folder;
}

function startIn(cwd: string, env: Readonly<Record<string, string>> = {}): RunningProcess {
  return startProcess({ cwd, env: { HTTP_PORT: "0", ...env } });
}

/** Of the daemon, once everything is up and what to try is printed. */
async function urlOf(started: RunningProcess): Promise<string> {
  const metrics = await started.waitForLine(/^ {2}metrics/, 30_000);
  await started.waitForLine(/^Ctrl-C/);
  return /http:\S+(?=\/metrics)/.exec(metrics)?.[0] ?? "";
}

async function command(
  cwd: string,
  args: readonly string[],
  input = "",
): Promise<{ stdout: string; stderr: string }> {
  const script = fileURLToPath(new URL("../../src/main.ts", import.meta.url));
  const running = promisify(execFile)(process.execPath, [script, ...args], {
    cwd,
    env: shellEnvironment(),
  });
  running.child.stdin?.end(input);
  return await running;
}

async function paste(cwd: string, line: string): Promise<string> {
  const { stdout } = await promisify(execFile)("sh", ["-c", line], {
    cwd,
    env: shellEnvironment(),
  });
  return stdout;
}

/** Another terminal has none of a test's settings. */
function shellEnvironment(): NodeJS.ProcessEnv {
  const { PATH, HOME, TMPDIR } = process.env;
  return { PATH, HOME, TMPDIR };
}

/** Whatever names the folder on its command line: the server, its supervisor, a start by npm. */
async function processesOf(folder: string): Promise<string[]> {
  const { stdout } = await promisify(execFile)("ps", ["-eo", "pid,args"], { maxBuffer: 1e8 });
  return stdout.split("\n").filter((line) => line.includes(folder));
}

async function npmScript(): Promise<string> {
  const { stdout } = await promisify(execFile)("sh", ["-c", 'readlink -f "$(command -v npm)"']);
  return stdout.trim();
}
