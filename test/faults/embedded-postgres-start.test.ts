/** The embedded PostgreSQL from within one process: data, ports, passwords, and what it finds in its directory at the start. */
import { spawnSync } from "node:child_process";
import { mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type pg from "pg";
import { afterEach, beforeEach, expect, test } from "vitest";
import {
  type EmbeddedPostgres,
  type EmbeddedPostgresOptions,
  startEmbeddedPostgres,
} from "../../src/local/embedded-postgres.ts";
import { insertSampleAccounts } from "../../src/local/source-tables.ts";
import { createDatabase, withClient } from "../support/postgres.ts";

let dataDir: string;
const servers: EmbeddedPostgres[] = [];

beforeEach(async () => {
  dataDir = await mkdtemp(join(tmpdir(), "account-sync-test-data-"));
});

afterEach(async () => {
  for (const server of servers.splice(0)) {
    await server.stop();
  }
  await rm(dataDir, { recursive: true, force: true });
});

test("data, port and password are the same after a restart", async () => {
  const first = await start();
  await query(first.url, "create table kept as select 42 as answer");
  await first.stop();

  const second = await start();

  expect(second.url).toBe(first.url);
  expect(await query(second.url, "select answer from kept")).toEqual([{ answer: 42 }]);
});

test("what was committed survives a crash", async () => {
  const server = await start();
  await query(server.url, "create table kept as select 42 as answer");

  await server.crash();
  await server.restart();

  expect(await query(server.url, "select answer from kept")).toEqual([{ answer: 42 }]);
});

test("a second start on the same directory is one clear error and leaves the first server alone", async () => {
  const first = await start();

  const second = startEmbeddedPostgres({ dataDir });

  await expect(second).rejects.toThrow(
    `account-sync already runs on ${dataDir}, as process ${process.pid}.`,
  );
  expect(await query(first.url, "select 1 as one")).toEqual([{ one: 1 }]);
});

test("another port is taken when another process has the one of the last time", async () => {
  const first = await start();
  await first.stop();
  const occupant = createServer().listen(portOf(first.url), "127.0.0.1");

  const second = await start();

  expect(portOf(second.url)).not.toBe(portOf(first.url));
  expect(await query(second.url, "select 1 as one")).toEqual([{ one: 1 }]);
  occupant.close();
});

test("a wanted port that is in use is a clear error", async () => {
  const occupant = createServer();
  await new Promise<void>((resolve) => occupant.listen(0, "127.0.0.1", resolve));
  const { port } = occupant.address() as { port: number };

  const started = startEmbeddedPostgres({ dataDir, port });

  await expect(started).rejects.toThrow(`could not bind 127.0.0.1:${port}`);
  occupant.close();
});

test("a process id file left by a power cut does not stop the start, whichever process has the id now", async () => {
  const server = await start();
  const pidFile = join(server.clusterDir, "postmaster.pid");
  const leftBehind = await readFile(pidFile, "utf8");
  await server.stop();
  await writeFile(pidFile, leftBehind.replace(/^\d+/, String(process.pid)));

  const again = await start();

  expect(await query(again.url, "select 1 as one")).toEqual([{ one: 1 }]);
});

test("the password is required, random, and readable for its owner alone", async () => {
  const server = await start();
  const password = new URL(server.url).password;

  const withWrongPassword = query(server.url.replace(password, "postgres"), "select 1");

  await expect(withWrongPassword).rejects.toMatchObject({ code: "28P01" });
  expect(password.length).toBeGreaterThanOrEqual(32);
  expect((await stat(join(dataDir, "password"))).mode & 0o777).toBe(0o600);
});

test("settings reach the server, our environment does not, and no other machine can connect", async () => {
  process.env["PGOPTIONS"] = "-c work_mem=1MB";
  process.env["CANARY_SECRET"] = "canary-3f9a";

  const server = await start({ settings: { max_connections: "17" } });

  delete process.env["PGOPTIONS"];
  delete process.env["CANARY_SECRET"];
  expect(await query(server.url, "show max_connections")).toEqual([{ max_connections: "17" }]);
  expect(await query(server.url, "show listen_addresses")).toEqual([
    { listen_addresses: "127.0.0.1" },
  ]);
  expect(await outputOf("env", server)).toContain("PATH=");
  expect(await outputOf("env", server)).not.toMatch(/PGOPTIONS|canary-3f9a/);
});

test("stopping twice is harmless", async () => {
  const server = await start();

  await server.stop();
  await server.stop();

  await expect(query(server.url, "select 1")).rejects.toMatchObject({ code: "ECONNREFUSED" });
});

test("an interrupted first start leaves nothing in the way of the next", async () => {
  const goneProcess = spawnSync("true").pid;
  await writeFile(join(dataDir, `cluster.${goneProcess}`), "half a cluster");

  const server = await start();

  expect(await query(server.url, "select 1 as one")).toEqual([{ one: 1 }]);
  await expect(stat(join(dataDir, `cluster.${goneProcess}`))).rejects.toThrow("ENOENT");
});

test("sample accounts go into the source tables once, however often they are inserted", async () => {
  const database = await createDatabase();

  await insertSampleAccounts(database.pool);
  await insertSampleAccounts(database.pool);

  const accounts = await database.query('select id, "parentId" from m_account order by account_no');
  expect(accounts).toHaveLength(3);
  expect(accounts[1]?.["parentId"]).toBe(accounts[0]?.["id"]);
});

async function start(
  options: Omit<EmbeddedPostgresOptions, "dataDir"> = {},
): Promise<EmbeddedPostgres> {
  const server = await startEmbeddedPostgres({
    dataDir,
    ...options,
    settings: { fsync: "off", ...options.settings },
  });
  servers.push(server);
  return server;
}

function query(url: string, sql: string): Promise<pg.QueryResultRow[]> {
  return withClient(url, async (client) => (await client.query(sql)).rows);
}

/** What a program says that the server runs: the server's own environment, user and so on. */
async function outputOf(command: string, server: EmbeddedPostgres): Promise<string> {
  const lines = await withClient(server.url, async (client) => {
    await client.query("create temporary table output (line text)");
    await client.query(`copy output from program '${command}' (delimiter e'\\x01')`);
    return (await client.query<{ line: string }>("select line from output")).rows;
  });
  return lines.map(({ line }) => line).join("\n");
}

function portOf(url: string): number {
  return Number(new URL(url).port);
}
