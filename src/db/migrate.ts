/**
 * Installs, upgrades and removes schema `account_sync` and the capture triggers. Safe to repeat, and to run from two places
 * at once.
 *
 * Everything runs in transactions that bring their settings and locks along and end them: what a session keeps would be handed on by a
 * pooler, and a process that dies leaves nothing half-done. A new schema is one transaction; later each migration, and the triggers of
 * each source table, since a second lock must not be waited for while the first one is held.
 */
import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";
import { migrate as runMigrations } from "postgres-migrations";
import { OperatorError } from "../operator-error.ts";
import type { UrlSetting } from "./connection-url.ts";
import { connectionOptions, errorCode } from "./database.ts";
import { explained } from "./explained.ts";
import { grantDump } from "./grant-dump.ts";
import { requireSoundSchema } from "./installation.ts";
import { findHolder, type Wanted } from "./lock-holder.ts";
import { sqlDirectory } from "./queries.ts";
import { diagnoseSchemaVersion, latestMigration } from "./schema-version.ts";

/** CREATE OR REPLACE TRIGGER came with 14; the tests pass on 14, 15 and 18. */
export const OLDEST_POSTGRESQL = 14;
/** How long one try may wait for a table's lock, and with it every writer behind us. */
const LOCK_TIMEOUT_MS = 200;
/** An autovacuum gives its lock up to a session that has waited for deadlock_timeout, a second by default. */
const YIELD_TIMEOUT_MS = 1_500;
/** How long a long transaction on a source table, or another migrate, is waited for altogether. */
const INSTALL_DEADLINE_MS = 300_000;
/** "account_" as bytes: one migration or uninstall at a time. */
const ADVISORY_LOCK = "7017561974736057439";

export interface MigrateOptions {
  readonly url: string;
  /** Where `url` stands. Default DATABASE_URL. */
  readonly setting?: UrlSetting;
  readonly info: (message: string) => void;
}

/** @throws OperatorError with what to do: no m_account, no rights, a newer schema, tables that stay locked. */
export async function migrate(
  options: MigrateOptions,
): Promise<{ migrations: number; createdSchema: boolean }> {
  return await withClient(options, async (client) => {
    await refuseOldServer(client);
    await requireSourceTables(client);
    await requireSoundSchema(client);
    const { createdSchema, version } = await transact(client, options, UPGRADE, async () => {
      const isNew = await createSchema(client);
      const found = await refuseNewerSchema(client);
      // Nothing uses an empty schema yet, ours or an administrator's, so all of it can be one transaction: half of it never stands.
      if (found === 0) await runMissingMigrations(client, "all");
      return { createdSchema: isNew, version: found };
    });
    // What daemons and the application use is locked by one migration at a time.
    while (await transact(client, options, UPGRADE, () => runMissingMigrations(client, "next")));
    await transact(client, options, UPGRADE, async () => {
      await client.query(readFileSync(`${sqlDirectory}capture/install_capture.sql`, "utf8"));
    });
    for (const table of await capturedTables(client)) {
      const doing = {
        doing: `install the capture triggers on ${table}`,
        tables: [`public.${table}`],
      };
      await transact(client, options, doing, async () => {
        await client.query("select account_sync.install_capture($1)", [table]);
      });
    }
    const grant = { ...UPGRADE, doing: "let the owners of the source tables dump the schema" };
    const granted = await transact(client, options, grant, async () => await grantDump(client));
    for (const message of granted) options.info(message);
    await tellDisabledTriggers(client, options);
    return { migrations: latestMigration() - version, createdSchema };
  });
}

/** Leaves the source tables as they were. External ids that were written stay. */
export async function uninstall(options: MigrateOptions): Promise<void> {
  await withClient(options, async (client) => {
    // One table at a time: dropping a trigger locks readers out too, until the transaction ends.
    const tables = (await isCaptureInstalled(client)) ? await capturedTables(client) : [];
    for (const table of tables) {
      const doing = {
        doing: `remove the capture triggers from ${table}`,
        tables: [`public.${table}`],
      };
      await transact(client, options, doing, async () => {
        await client.query("select account_sync.remove_capture($1)", [table]);
      });
    }
    await transact(client, options, { ...UPGRADE, doing: "drop schema account_sync" }, async () => {
      await client.query("drop schema if exists account_sync cascade");
    });
  });
}

async function withClient<T>(
  { url, setting }: MigrateOptions,
  work: (client: pg.Client) => Promise<T>,
): Promise<T> {
  const client = new pg.Client({
    ...connectionOptions({
      url,
      applicationName: "account-sync migrate",
      // Every transaction is told what it needs.
      settingsPerTransaction: true,
      synchronousCommit: "on",
    }),
    // Indexing a large table may take longer than a statement usually does.
    query_timeout: INSTALL_DEADLINE_MS,
  });
  client.on("error", () => {});
  try {
    await client.connect();
    return await work(client);
  } catch (error) {
    throw explained(error, url, setting);
  } finally {
    await client.end().catch(() => {});
  }
}

/** An older one would fail in the middle of the SQL, with a syntax error. */
async function refuseOldServer(client: pg.Client): Promise<void> {
  const { rows } = await client.query<{ number: number; version: string }>(
    "select current_setting('server_version_num')::int4 as number, current_setting('server_version') as version",
  );
  const { number, version } = rows[0] ?? { number: 0, version: "unknown" };
  if (number >= OLDEST_POSTGRESQL * 10_000) return;
  throw new OperatorError(`The server is PostgreSQL ${version}.`, {
    hint: `account-sync needs PostgreSQL ${OLDEST_POSTGRESQL} or newer: upgrade the server. Nothing was installed.`,
  });
}

async function requireSourceTables(client: pg.Client): Promise<void> {
  const required = ["m_account", "m_account_package_tier", "m_account_pic"];
  // Triggers go on tables: a view or a foreign table of that name would never be captured.
  const found = await client.query<{ missing: string[] | null; database: string }>(
    `select array_agg(name order by position) filter (where c.oid is null) as missing, current_database() as database
     from unnest($1::text[]) with ordinality as required (name, position)
     left join pg_class c on c.oid = to_regclass('public.' || name) and c.relkind in ('r', 'p')`,
    [required],
  );
  const { missing, database } = found.rows[0] ?? { missing: null, database: "" };
  if (missing === null) return;
  throw new OperatorError(
    `The database "${database}" has no table ${missing.map((name) => `public.${name}`).join(", ")}.`,
    {
      hint: "account-sync goes beside the database of the application that keeps its accounts there: check DATABASE_URL, and run the application's own migrations first.",
    },
  );
}

async function createSchema(client: pg.Client): Promise<boolean> {
  const existing = await client.query("select from pg_namespace where nspname = 'account_sync'");
  // Not `if not exists`: that asks for the right to create schemas also where an administrator has made this one for us.
  if (existing.rowCount === 0) await client.query("create schema account_sync");
  await client.query(
    `create table if not exists account_sync.migrations (
       id integer primary key,
       name varchar(100) unique not null,
       hash varchar(40) not null,
       executed_at timestamp default current_timestamp
     )`,
  );
  return existing.rowCount === 0;
}

/** Resolves with the version that is there, 0 for none. */
async function refuseNewerSchema(client: pg.Client): Promise<number> {
  const applied = await client.query<{ version: number | null }>(
    "select max(id) as version from account_sync.migrations",
  );
  const version = applied.rows[0]?.version ?? 0;
  const diagnosis = version > latestMigration() ? diagnoseSchemaVersion(version) : null;
  if (diagnosis !== null) throw OperatorError.of(diagnosis);
  return version;
}

const UPGRADE: Doing = { doing: "install or upgrade schema account_sync", tables: [] };

/**
 * Resolves with whether one has run and others may be left. The package looks for its table in any schema and might take an application's
 * own for ours: search_path begins with our schema.
 */
async function runMissingMigrations(client: pg.Client, which: "all" | "next"): Promise<boolean> {
  // What stands in it already stays, for the application's event triggers.
  await client.query(
    "select set_config('search_path', concat_ws(', ', 'account_sync', nullif(current_setting('search_path'), '')), true)",
  );
  let begun = 0;
  // The package's own errors say nothing of the server's code.
  let refusal: unknown = null;
  const query = async (statement: unknown) => {
    if (statement === "START TRANSACTION") {
      begun += 1;
      if (which === "next" && begun > 1) {
        refusal = ENOUGH;
        throw ENOUGH;
      }
    }
    if (typeof statement === "string" && SESSION_STATEMENTS.test(statement))
      return { rows: [{ pg_try_advisory_lock: true }] };
    // Comments of the first migrations hold characters that a server with another encoding does not take. A file's hash is kept.
    const text = typeof statement === "string" ? replaceNonAscii(statement) : statement;
    try {
      return await client.query(text as string);
    } catch (error) {
      refusal ??= error;
      throw error;
    }
  };
  try {
    await runMigrations({ client: { query } as pg.Client }, `${sqlDirectory}migrations`);
  } catch (error) {
    if (refusal !== ENOUGH) throw refusal ?? error;
  }
  return begun > 0;
}

/** Ends the package's run before its second migration. */
const ENOUGH = new Error("one migration was asked for");

/** With these postgres-migrations takes a lock of the session and a transaction per file; our transaction has both. */
const SESSION_STATEMENTS =
  /^(?:select pg_(?:try_advisory_lock|advisory_unlock)\b.*|start transaction|commit|rollback)$/i;

function replaceNonAscii(sql: string): string {
  return sql.replaceAll(/[^\p{ASCII}]/gu, "?");
}

async function isCaptureInstalled(client: pg.Client): Promise<boolean> {
  const found = await client.query<{ installed: boolean }>(
    "select to_regprocedure('account_sync.remove_capture(text)') is not null as installed",
  );
  return found.rows[0]?.installed ?? false;
}

async function capturedTables(client: pg.Client): Promise<string[]> {
  const tables = await client.query<{ source_table: string }>(
    "select source_table from account_sync.captured_table()",
  );
  return tables.rows.map((row) => row.source_table);
}

/** Somebody may have switched them off on purpose, for a bulk load; whoever starts us should know. */
async function tellDisabledTriggers(client: pg.Client, options: MigrateOptions): Promise<void> {
  const disabled = await client.query<{ name: string; table: string }>(
    `select t.tgname as name, t.tgrelid::regclass::text as table
     from pg_trigger t
     join pg_proc f on f.oid = t.tgfoid
     where f.pronamespace = 'account_sync'::regnamespace and t.tgenabled not in ('O', 'A') and t.tgparentid = 0
     order by t.tgrelid, t.tgname`,
  );
  for (const { name, table } of disabled.rows) {
    options.info(
      `The capture trigger ${name} is disabled, and changes of ${table} go unnoticed: alter table ${table} enable trigger ${name};`,
    );
  }
}

/**
 * The role's own limits are meant for the application's statements. One of ours that falls silent, or whose machine is gone, holds locks
 * that the application waits for: its session ends within seconds.
 */
const SETTINGS = Object.entries({
  application_name: "'account-sync migrate'",
  statement_timeout: 0,
  idle_in_transaction_session_timeout: 5_000,
  tcp_keepalives_idle: 5,
  tcp_keepalives_interval: 2,
  tcp_keepalives_count: 2,
  tcp_user_timeout: 10_000,
})
  .map(([name, value]) => `set local ${name} = ${value}`)
  .join("; ");

interface Doing {
  /** Source tables whose locks may be waited for, beside the tables of schema account_sync. */
  readonly tables: readonly string[];
  /** As in "could not …". */
  readonly doing: string;
}

/**
 * One transaction, with the lock that keeps other migrations out. Creating a trigger waits for every open transaction that wrote to the
 * table, and while it waits, later writers wait behind it: so it waits for a fifth of a second at most, and all of it is tried again.
 */
async function transact<T>(
  client: pg.Client,
  options: MigrateOptions,
  { doing, tables }: Doing,
  work: () => Promise<T>,
): Promise<T> {
  const deadline = performance.now() + INSTALL_DEADLINE_MS;
  let lockTimeoutMs = LOCK_TIMEOUT_MS;
  for (let attempt = 1; ; attempt += 1) {
    let wanted: Wanted = { advisoryLock: ADVISORY_LOCK };
    try {
      await client.query(
        `begin isolation level read committed read write; ${SETTINGS}; set local lock_timeout = ${lockTimeoutMs}`,
      );
      await client.query(`select pg_advisory_xact_lock(${ADVISORY_LOCK})`);
      wanted = { tables };
      const result = await work();
      await client.query("commit");
      return result;
    } catch (error) {
      // A connection that broke cannot roll back, and its first error says more.
      await client.query("rollback").catch(() => {});
      const isLocked = errorCode(error) === "55P03" || errorCode(error) === "40P01";
      if (!isLocked) throw await blameEventTrigger(client, error);
      const { isBackground } = await waitForLock(client, options, {
        doing,
        wanted,
        attempt,
        deadline,
        error,
      });
      lockTimeoutMs = isBackground ? YIELD_TIMEOUT_MS : LOCK_TIMEOUT_MS;
    }
  }
}

/** An event trigger of the application's runs inside our DDL, with our search_path and rights. Resolves with the error to throw. */
async function blameEventTrigger(client: pg.Client, error: unknown): Promise<unknown> {
  const where = error instanceof pg.DatabaseError ? (error.where ?? "") : "";
  const { rows } = await client
    .query<{ name: string; procedure: string }>(
      `select quote_ident(t.evtname) as name, p.proname as procedure
       from pg_event_trigger t
       join pg_proc p on p.oid = t.evtfoid
       where t.evtenabled <> 'D'`,
    )
    .catch(() => ({ rows: [] }));
  const failed = rows.find(({ procedure }) => where.includes(`${procedure}(`));
  if (failed === undefined || !(error instanceof Error)) return error;
  return new OperatorError(
    `Event trigger ${failed.name} of this database failed in what account-sync does to its schema: ${error.message}.`,
    {
      hint: `Write the tables in its function ${failed.procedure} with their schemas, or switch it off for the migrate: alter event trigger ${failed.name} disable;`,
      cause: error,
    },
  );
}

interface Refused {
  readonly doing: string;
  readonly wanted: Wanted;
  readonly attempt: number;
  readonly deadline: number;
  readonly error: unknown;
}

/** Resolves when it is time to try again. @throws OperatorError that names the holder, after the deadline */
async function waitForLock(
  client: pg.Client,
  { info }: MigrateOptions,
  { doing, wanted, attempt, deadline, error }: Refused,
): Promise<{ readonly isBackground: boolean }> {
  const { words, isBackground } = await findHolder(client, wanted);
  if (performance.now() > deadline) {
    throw new OperatorError(
      `Could not ${doing} within ${INSTALL_DEADLINE_MS / 1000} s: ${words} holds the lock.`,
      {
        hint: "Let it finish, or end it with: select pg_terminate_backend(<pid>); then run `account-sync migrate` again. What was installed so far stays and is harmless.",
        cause: error,
      },
    );
  }
  // The second try, since three replicas that start together are in each other's way for a moment; then every ten seconds.
  if (attempt % 20 === 2) info(`Waiting for ${words}, to ${doing}`);
  await sleep(300 + Math.random() * 700);
  return { isBackground };
}
