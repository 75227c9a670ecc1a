/**
 * A fresh database for a test file, cloned from a template in about a tenth of a second. Templates are built once per run and
 * shape of the source tables, by whichever worker needs one first.
 *
 * Databases are dropped at the end of the file, unless one of its tests failed: then they stay, and their names are printed. To
 * look into them, keep the server: `vitest --watch`, or TEST_DATABASE_URL (see global-postgres.ts).
 */
import { createHash, randomBytes } from "node:crypto";
import pg from "pg";
import { afterAll, afterEach, inject } from "vitest";
import { migrate } from "../../src/db/migrate.ts";
import { createSourceTables, type SourceTablesOptions } from "../../src/local/source-tables.ts";

export interface TestDatabaseOptions extends SourceTablesOptions {
  /** False for an empty database. Default true. */
  readonly sourceTables?: boolean;
  /** True where account-sync is installed. Default false. */
  readonly migrated?: boolean;
  /** The server's encoding of the database, such as LATIN1. Needs PostgreSQL 15. */
  readonly encoding?: string;
}

export interface TestDatabase {
  readonly url: string;
  readonly name: string;
  readonly pool: pg.Pool;
  /** Resolves with the rows. */
  query<Row extends pg.QueryResultRow = pg.QueryResultRow>(
    sql: string,
    params?: readonly unknown[],
  ): Promise<Row[]>;
  /** Also called at the end of the file for databases that were left open. */
  close(): Promise<void>;
}

/** The superuser's URL of the run's server, for tests that make roles, or end other people's sessions. */
export function serverUrl(): string {
  return inject("postgresUrl");
}

export async function createDatabase(options: TestDatabaseOptions = {}): Promise<TestDatabase> {
  const name = `test_${randomBytes(6).toString("hex")}`;
  const template = await ensureTemplate(options);
  await withClient(serverUrl(), (client) =>
    client.query(`create database ${name} template ${template}`),
  );

  const database = openDatabase(name);
  openDatabases.add(database);
  return database;
}

/** Runs `use` with a connected client of its own and ends it afterwards. */
export async function withClient<T>(
  url: string,
  use: (client: pg.Client) => Promise<T>,
): Promise<T> {
  const client = new pg.Client({ connectionString: url });
  // A client without this listener ends the whole worker when a test terminates its session.
  client.on("error", () => {});
  await client.connect();

  try {
    return await use(client);
  } finally {
    await client.end();
  }
}

const openDatabases = new Set<TestDatabase>();
let someTestFailed = false;

afterEach(({ task }) => {
  someTestFailed ||= task.result?.state === "fail";
});

afterAll(async () => {
  for (const database of openDatabases) {
    await database.close();
  }
});

function openDatabase(name: string): TestDatabase {
  const url = toDatabaseUrl(name);
  const pool = new pg.Pool({ connectionString: url, max: 10 });
  pool.on("error", () => {});

  const database: TestDatabase = {
    url,
    name,
    pool,
    query: async <Row extends pg.QueryResultRow>(sql: string, params: readonly unknown[] = []) =>
      (await pool.query<Row>(sql, [...params])).rows,
    close: async () => {
      if (!openDatabases.delete(database)) {
        return;
      }

      await pool.end();
      await dropUnlessSomeTestFailed(name);
    },
  };
  return database;
}

async function dropUnlessSomeTestFailed(name: string): Promise<void> {
  if (someTestFailed) {
    process.stderr.write(`A test failed; its database is kept as long as the server: ${name}\n`);
    return;
  }

  await withClient(serverUrl(), (client) => client.query(`drop database ${name} with (force)`));
}

async function ensureTemplate(options: TestDatabaseOptions): Promise<string> {
  const name = `template_${inject("testRunId")}_${toShapeHash(options)}`;

  await withClient(serverUrl(), async (client) => {
    // Workers run in parallel; the lock ends with the session.
    await client.query("select pg_advisory_lock(hashtext($1))", [name]);
    const found = await client.query("select from pg_database where datname = $1", [name]);
    if (found.rowCount === 0) {
      await buildTemplate(client, name, options);
    }
  });

  return name;
}

async function buildTemplate(
  client: pg.Client,
  name: string,
  options: TestDatabaseOptions,
): Promise<void> {
  // Gets its name only when it is whole, so that a build that failed is not taken for a template.
  const unfinished = `${name}_unfinished`;
  await client.query(`drop database if exists ${unfinished} with (force)`);
  const { encoding } = options;
  await client.query(
    `create database ${unfinished}${
      encoding === undefined
        ? ""
        : ` template template0 encoding '${encoding}' locale_provider libc locale 'C'`
    }`,
  );

  await withClient(toDatabaseUrl(unfinished), async (inside) => {
    if (options.sourceTables ?? true) {
      await createSourceTables(inside, options);
    }
  });
  if (options.migrated ?? false) {
    await migrate({ url: toDatabaseUrl(unfinished), info: () => {} });
  }

  await client.query(`alter database ${unfinished} rename to ${name}`);
}

function toShapeHash(options: TestDatabaseOptions): string {
  const shape = JSON.stringify(Object.entries(options).sort(([a], [b]) => (a < b ? -1 : 1)));
  return createHash("sha256").update(shape).digest("hex").slice(0, 12);
}

function toDatabaseUrl(name: string): string {
  const url = new URL(serverUrl());
  url.pathname = `/${name}`;
  return url.href;
}
