/**
 * What `docker compose up` starts, without a Docker engine: a PostgreSQL prepared by compose's own scripts, the sandbox by its command
 * and the daemon by its environment. Only names of hosts, ports and folders are other ones.
 */
import { chmod, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type pg from "pg";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type EmbeddedPostgres, startEmbeddedPostgres } from "../../src/local/embedded-postgres.ts";
import { composeService, readRepositoryFile } from "../support/deploy.ts";
import { eventually } from "../support/eventually.ts";
import { withClient } from "../support/postgres.ts";
import { type RunningProcess, startProcess } from "../support/process.ts";

const postgres = composeService("postgres");
const sandbox = composeService("sandbox");
const daemon = composeService("account-sync");
const header = readRepositoryFile("docker-compose.yml").split("\n\n")[0] ?? "";

let folder: string;
let server: EmbeddedPostgres;
let sandboxUrl: string;
let runningSandbox: RunningProcess;
let runningDaemon: RunningProcess;
/** The latest first. */
const started: RunningProcess[] = [];
let daemonUrl: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "account-sync-test-compose-"));
  // As root, a database that its server's user cannot reach here would be made elsewhere, and stay there.
  await chmod(folder, 0o755);
  server = await startEmbeddedPostgres({
    dataDir: join(folder, "postgres"),
    settings: { fsync: "off" },
  });
  await prepareDatabase();
  await startSandboxProcess("0");
  runningDaemon = startProcess({
    args: daemon.command,
    env: {
      ...daemon.environment,
      DATABASE_URL: at(daemon.environment["DATABASE_URL"] ?? ""),
      CUSTOMER_API_URL: sandboxUrl,
      HTTP_HOST: "127.0.0.1",
      HTTP_PORT: "0",
    },
    cwd: folder,
  });
  started.unshift(runningDaemon);
  daemonUrl = JSON.parse(await runningDaemon.waitForLine(/"msg":"started"/, 60_000)).url;
});

afterAll(async () => {
  for (const running of started) {
    running.signal("SIGTERM");
    await running.exit;
  }
  await server?.stop();
  await rm(folder, { recursive: true, force: true });
});

test("the sample accounts are synced by a role that is no superuser", async () => {
  await eventually(async () => expect(await countSynced()).toBe(3), { timeoutMs: 20_000 });

  const roles = await query(
    server.url,
    "select rolname from pg_roles where rolsuper and rolname in ('app', 'account_sync')",
  );
  expect(roles).toEqual([]);
  const url = new URL(daemon.environment["DATABASE_URL"] ?? "");
  expect(url.username).toBe("account_sync");
});

test("the daemon warns of nothing but of accounts that wait for their parents", () => {
  const lines = runningDaemon.stdout.map((line) => JSON.parse(line));
  const warnings = lines.filter(({ level }) => !["info", "debug", "trace"].includes(level));

  expect(warnings.filter(({ msg }) => msg !== "account blocked")).toEqual([]);
  expect(runningDaemon.stderr).toEqual([]);
});

test("the image's user owns the folder of the sandbox's volume", () => {
  const dockerfile = readRepositoryFile("Dockerfile");
  const user = /^USER (\S+)$/m.exec(dockerfile)?.[1];
  const [, target] = sandbox.volumes[0]?.split(":") ?? [];

  expect(dockerfile).toContain(`mkdir ${target} && chown ${user} ${target}\n`);
});

test("every login that the file's first lines name is accepted", async () => {
  const urls = header.match(/postgres:\/\/\S+/g) ?? [];
  const password = /password: HTTP_TOKEN \((\S+)\)/.exec(header)?.[1];
  const console = (credentials: string) =>
    fetch(`${daemonUrl}/api/status`, {
      headers: { authorization: `Basic ${Buffer.from(credentials).toString("base64")}` },
    });

  expect(urls).toHaveLength(2);
  for (const url of urls) expect(await query(at(url), "select 1 as one")).toEqual([{ one: 1 }]);
  const status = await query(
    at(urls.find((url) => url.includes("account_sync")) ?? ""),
    "select * from account_sync.status",
  );
  expect(status).toHaveLength(3);
  expect((await console(`any:${password}`)).status).toBe(200);
  expect((await console("any:other-token")).status).toBe(401);
});

test("a restart of the sandbox keeps its customers: the next change is accepted as an update", async () => {
  await eventually(async () => expect(await countSynced()).toBe(3), { timeoutMs: 20_000 });
  const before = await customers();
  const app = header.match(/postgres:\/\/app:\S+/)?.[0] ?? "";

  runningSandbox.signal("SIGTERM");
  await runningSandbox.exit;
  await startSandboxProcess(new URL(sandboxUrl).port);
  expect(await customers()).toEqual(before);
  await query(at(app), "update m_account set name = 'Warung Baru' where account_no = 'ACC-0003'");

  await eventually(
    async () => {
      const changed = (await customers()).find(({ code }) => code === "ACC-0003");
      expect(changed?.command.customer.name).toBe("Warung Baru");
      const states = await query(
        inDatabase(server.url),
        "select distinct state from account_sync.status",
      );
      expect(states).toEqual([{ state: "clean" }]);
    },
    { timeoutMs: 20_000 },
  );
  expect(await customers()).toHaveLength(before.length);
  const refused = await query(
    inDatabase(server.url),
    "select http_status, error from account_sync.history where http_status >= 400",
  );
  expect(refused).toEqual([]);
});

/** As the image's entry point does: every script of its folder, in the order of their names there, as the superuser. */
async function prepareDatabase(): Promise<void> {
  const database = postgres.environment["POSTGRES_DB"] ?? "";
  await query(server.url, `create database ${database}`);
  const scripts = postgres.volumes
    .map((volume) => volume.split(":"))
    .filter(([, target = ""]) => target.startsWith("/docker-entrypoint-initdb.d/"))
    .toSorted(([, one = ""], [, other = ""]) => one.localeCompare(other));
  expect(scripts.length).toBeGreaterThan(2);
  for (const [source = ""] of scripts) {
    await query(inDatabase(server.url), readRepositoryFile(source.replace("./", "")));
  }
}

/** Its command, on a port of this machine, with its volume in the test's folder. */
async function startSandboxProcess(port: string): Promise<void> {
  const [volume = ""] = sandbox.volumes.map((each) => each.split(":")[1]);
  const file = sandbox.command.at(sandbox.command.indexOf("--data") + 1) ?? "";
  expect(file.startsWith(`${volume}/`)).toBe(true);
  const others = new Map([
    ["0.0.0.0", "127.0.0.1"],
    ["8080", port],
    [file, join(folder, file.slice(1))],
  ]);
  runningSandbox = startProcess({
    args: sandbox.command.map((word) => others.get(word) ?? word),
    env: sandbox.environment,
    cwd: folder,
  });
  started.unshift(runningSandbox);
  const line = await runningSandbox.waitForLine(/^Sandbox customer API on/);
  sandboxUrl = /http:\/\/[\d.]+:\d+/.exec(line)?.[0] ?? "";
}

interface Customer {
  readonly code: string;
  readonly command: { readonly customer: { readonly name: string } };
}

async function customers(): Promise<Customer[]> {
  const found = (await (await fetch(`${sandboxUrl}/sandbox/customers`)).json()) as
    | Customer[]
    | { readonly customers: Customer[] };
  return Array.isArray(found) ? found : found.customers;
}

async function countSynced(): Promise<number> {
  const found = await query(
    inDatabase(server.url),
    "select id from m_account where uuid_be is not null",
  );
  return found.length;
}

/** The same login and database on the test's server. */
function at(url: string): string {
  const { host } = new URL(server.url);
  const moved = new URL(url);
  moved.host = host;
  return moved.href;
}

function inDatabase(url: string): string {
  const inside = new URL(url);
  inside.pathname = `/${postgres.environment["POSTGRES_DB"]}`;
  return inside.href;
}

async function query(url: string, sql: string): Promise<pg.QueryResultRow[]> {
  return await withClient(url, async (client) => (await client.query(sql)).rows);
}
