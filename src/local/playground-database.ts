/** The playground's database: an embedded PostgreSQL with the source tables, our schema, and sample accounts at the first start. */
import pg from "pg";
import { parseConnectionUrl } from "../db/connection-url.ts";
import type { Database } from "../db/database.ts";
import { errorCode } from "../db/error-code.ts";
import { migrate } from "../db/migrate.ts";
import { withDatabase } from "../db/with-database.ts";
import { OperatorError } from "../operator-error.ts";
import type { Log } from "../ops/log.ts";
import { DataInUseError } from "./data-lock.ts";
import { type EmbeddedPostgres, startEmbeddedPostgres } from "./embedded-postgres.ts";
import { createSourceTables, insertSampleAccounts } from "./source-tables.ts";

/** For every error about the embedded database. */
export const USE_OWN_DATABASE =
  "Or set DATABASE_URL to a database of your own: postgres://user:password@host:5432/database";

/** @throws OperatorError */
export async function startPlaygroundServer(dataDir: string, log: Log): Promise<EmbeddedPostgres> {
  try {
    return await startEmbeddedPostgres({
      dataDir,
      log: (line) => log.debug({ line }, "embedded PostgreSQL"),
    });
  } catch (error) {
    const said = error instanceof Error ? error.message : String(error);
    if (error instanceof DataInUseError) {
      const process = error.pid === null ? "it" : `process ${error.pid}`;
      throw new OperatorError(said, {
        hint: `Use the one that is there: \`account-sync status\`. To start another, stop ${process} first, or start in another folder.`,
        cause: error,
      });
    }
    throw new OperatorError(
      // An error of the system, such as a folder that cannot be written, does not say what was tried.
      errorCode(error) === null ? said : `The embedded PostgreSQL could not be started: ${said}`,
      { hint: USE_OWN_DATABASE, cause: error },
    );
  }
}

const LOOK_AT_FOLDER_EVERY_MS = 1_000;

/**
 * Logs an error when the data directory is removed. `rm -rf .data` alone does not start afresh: the server goes on with the files it has
 * open, and ends only when it notices. Returns the function that ends the look.
 */
export function reportRemovedFolder(
  server: EmbeddedPostgres,
  dataDir: string,
  log: Log,
): () => void {
  const timer = setInterval(async () => {
    if (await server.isStanding()) return;
    clearInterval(timer);
    log.error(
      { data_directory: dataDir },
      "the folder of the embedded database was removed while it is in use: stop this process with Ctrl-C, then start again",
    );
  }, LOOK_AT_FOLDER_EVERY_MS);
  return () => clearInterval(timer);
}

/** Resolves with whether the sample accounts were inserted: after the migration, so that they are captured like any others. */
export async function preparePlaygroundDatabase(url: string, log: Log): Promise<boolean> {
  const client = new pg.Client(parseConnectionUrl(url).client);
  client.on("error", () => {});
  await client.connect();
  try {
    const found = await client.query("select to_regclass('public.m_account') as m_account");
    if (found.rows[0]?.m_account === null) await createSourceTables(client);

    await migrate({ url, info: (message) => log.info({}, message) });

    if (!(await withPlaygroundDatabase(url, neverHadAccounts))) return false;
    await insertSampleAccounts(client);
    return true;
  } finally {
    await client.end();
  }
}

/** Decided by the rows: a first start may have been interrupted, and sample accounts that were removed must not come back. */
async function neverHadAccounts(db: Database): Promise<boolean> {
  const [row] = await db.run<{ neverHadAccounts: boolean }>("never_had_accounts");
  return row?.neverHadAccounts ?? false;
}

export async function withPlaygroundDatabase<T>(
  url: string,
  use: (db: Database) => Promise<T>,
): Promise<T> {
  const applicationName = "account-sync playground";
  return await withDatabase({ url, applicationName, settingsPerTransaction: false }, use);
}
