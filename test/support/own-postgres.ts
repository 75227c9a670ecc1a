/**
 * A PostgreSQL of a test's own, for what the shared one must not suffer: crashes, a full queue, a full disk. Stopped and removed
 * at the end of the file.
 */
import { appendFile, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import pg from "pg";
import { afterAll } from "vitest";
import {
  type EmbeddedPostgres,
  type EmbeddedPostgresOptions,
  startEmbeddedPostgres,
} from "../../src/local/embedded-postgres.ts";
import { createSourceTables } from "../../src/local/source-tables.ts";
import { type TestDatabase, withClient } from "./postgres.ts";

export interface OwnPostgres {
  readonly server: EmbeddedPostgres;
  /** Database `postgres` with the source tables; its pool connects again after a crash. */
  readonly database: TestDatabase;
  readonly port: number;
}

export interface OwnPostgresOptions extends Partial<EmbeddedPostgresOptions> {
  /** An address beside 127.0.0.1 that may log in. */
  readonly admit?: string;
}

export async function startOwnPostgres(options: OwnPostgresOptions = {}): Promise<OwnPostgres> {
  const dataDir =
    options.dataDir ?? (await mkdtemp(join(tmpdir(), "account-sync-fault-postgres-")));
  const server = await startEmbeddedPostgres({
    ...options,
    dataDir,
    settings: { fsync: "off", max_connections: "100", ...options.settings },
  });
  cleanups.push(async () => {
    await server.stop();
    await rm(dataDir, { recursive: true, force: true });
  });
  await withClient(server.url, async (client) => {
    await createSourceTables(client);
    if (options.admit === undefined) return;
    await appendFile(
      join(server.clusterDir, "pg_hba.conf"),
      `host all all ${options.admit}/32 scram-sha-256\n`,
    );
    await client.query("select pg_reload_conf()");
  });

  const pool = new pg.Pool({ connectionString: server.url, max: 10 });
  // An idle client that is cut off by a crash is simply replaced.
  pool.on("error", () => {});
  pool.on("connect", (client) => client.on("error", () => {}));
  let closing: Promise<void> | undefined;
  const database: TestDatabase = {
    url: server.url,
    name: "postgres",
    pool,
    query: async <Row extends pg.QueryResultRow>(sql: string, params: readonly unknown[] = []) =>
      (await pool.query<Row>(sql, [...params])).rows,
    close: () => {
      closing ??= pool.end();
      return closing;
    },
  };
  cleanups.push(() => database.close());
  return { server, database, port: Number(new URL(server.url).port) };
}

const cleanups: (() => Promise<void>)[] = [];

afterAll(async () => {
  for (const cleanUp of cleanups.splice(0).reverse()) await cleanUp();
});
