/**
 * One PostgreSQL for the whole test run, shared by the projects that name this file: vitest runs a global setup once per
 * project, all in its main process, so the server is kept there and counted. Nothing in it is worth a flush to disk, or a disk.
 *
 * SIGTERM skips the teardown; the server stops all the same, as it never outlives the process that started it.
 *
 * With TEST_DATABASE_URL set (a superuser's, of a server that is there for tests) that server is used instead: another version
 * of PostgreSQL, or one that is still there afterwards, to look into the database of a test that failed.
 */
import { randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdtemp, readdir, rm, statfs } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import pg from "pg";
import type { TestProject } from "vitest/node";
import { startEmbeddedPostgres } from "../../src/local/embedded-postgres.ts";

declare module "vitest" {
  export interface ProvidedContext {
    /** A superuser's URL of the server of this run, database `postgres`. */
    postgresUrl: string;
    /** Names what belongs to this run on a server that outlives it. */
    testRunId: string;
  }
}

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const shared = sharedServer();
  shared.users += 1;

  project.provide("postgresUrl", (await shared.started).url);
  project.provide("testRunId", shared.testRunId);

  return async () => {
    shared.users -= 1;
    if (shared.users === 0) {
      globalThis.accountSyncTestServer = undefined;
      await (await shared.started).stop();
    }
  };
}

interface SharedServer {
  users: number;
  readonly testRunId: string;
  readonly started: Promise<TestServer>;
}

interface TestServer {
  readonly url: string;
  stop(): Promise<void>;
}

declare global {
  /** Not a module variable: each project imports its own copy of this module. */
  var accountSyncTestServer: SharedServer | undefined;
}

function sharedServer(): SharedServer {
  const testRunId = randomBytes(4).toString("hex");
  globalThis.accountSyncTestServer ??= {
    users: 0,
    testRunId,
    started: startServer(testRunId),
  };
  return globalThis.accountSyncTestServer;
}

async function startServer(testRunId: string): Promise<TestServer> {
  const given = process.env["TEST_DATABASE_URL"];
  if (given) {
    return { url: given, stop: () => dropTemplates(given, testRunId) };
  }

  await removeLeftovers();
  const dataDir = await mkdtemp(join(await dataParent(), `${DATA_DIR_PREFIX}${process.pid}-`));
  const removeDataDir = () => rm(dataDir, { recursive: true, force: true });
  try {
    const server = await startEmbeddedPostgres({
      dataDir,
      settings: {
        fsync: "off",
        full_page_writes: "off",
        max_connections: "300",
        max_prepared_transactions: "10",
        wal_level: "logical",
      },
    });
    return { url: server.url, stop: () => server.stop().then(removeDataDir) };
  } catch (error) {
    await removeDataDir();
    throw error;
  }
}

const DATA_DIR_PREFIX = "account-sync-test-postgres-";
const MEMORY = "/dev/shm";
/** `npm test` keeps up to 1 GiB of databases and write-ahead log. */
const MEMORY_NEEDED_BYTES = 3 * 1024 ** 3;

/** Memory where there is enough of it: most of what a new database costs is writing its three hundred files to a disk. */
async function dataParent(): Promise<string> {
  const free = await statfs(MEMORY).then(
    ({ bavail, bsize }) => bavail * bsize,
    () => 0,
  );
  return free >= MEMORY_NEEDED_BYTES ? MEMORY : tmpdir();
}

/** Of runs that were killed: their servers have stopped, and what they left would stay in memory. */
async function removeLeftovers(): Promise<void> {
  for (const name of await readdir(MEMORY).catch(() => [])) {
    if (!name.startsWith(DATA_DIR_PREFIX)) continue;
    const owner = Number.parseInt(name.slice(DATA_DIR_PREFIX.length), 10);
    const directory = join(MEMORY, name);
    if (isAlive(owner) || existsSync(join(directory, "cluster/postmaster.pid"))) continue;
    await rm(directory, { recursive: true, force: true });
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}

async function dropTemplates(url: string, testRunId: string): Promise<void> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  const { rows } = await client.query<{ datname: string }>(
    "select datname from pg_database where starts_with(datname, $1)",
    [`template_${testRunId}_`],
  );
  for (const { datname } of rows) {
    await client.query(`drop database ${datname} with (force)`);
  }
  await client.end();
}
