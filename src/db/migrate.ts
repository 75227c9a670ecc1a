/**
 * Installs, upgrades and removes schema `account_sync` and the capture triggers. Safe to repeat, and to run from two places
 * at once.
 *
 * postgres-migrations looks for a table called `migrations` in any schema, and would take an application's own for ours: our table is
 * made first, and search_path holds our schema alone. A database newer than this code it accepts silently; we do not.
 */
import { readdirSync, readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";
import { migrate as runMigrations } from "postgres-migrations";
import { OperatorError } from "../operator-error.ts";
import { connectionOptions, errorCode } from "./database.ts";
import { explained } from "./explained.ts";
import { sqlDirectory } from "./queries.ts";

/** How long one try may wait for a table's lock, and with it every writer behind us. */
const LOCK_TIMEOUT_MS = 200;
/** How long a long transaction on a source table is waited for altogether. */
const INSTALL_DEADLINE_MS = 300_000;
/** "account_" as bytes: one migration or uninstall at a time. */
const ADVISORY_LOCK = "7017561974736057439";

export interface MigrateOptions {
  /** A direct connection: advisory locks and search_path need a session. */
  readonly url: string;
  readonly info: (message: string) => void;
}

/** @throws OperatorError with what to do: no m_account, no rights, a newer schema, tables that stay locked. */
export async function migrate(
  options: MigrateOptions,
): Promise<{ migrations: number; createdSchema: boolean }> {
  return await withSession(options.url, async (client) => {
    await requireSourceTables(client);
    const createdSchema = await createSchema(client);
    const installed = await refuseNewerSchema(client);
    await upgrade(client, options);

    await client.query(readFileSync(`${sqlDirectory}capture/install_capture.sql`, "utf8"));
    for (const table of await capturedTables(client)) {
      await withShortLocks(
        client,
        options,
        `install the capture triggers on ${table}`,
        async () => {
          await client.query("select account_sync.install_capture($1)", [table]);
        },
      );
    }
    await tellDisabledTriggers(client, options);
    return { migrations: latestMigration() - installed, createdSchema };
  });
}

/** Leaves the source tables as they were. External ids that were written stay. */
export async function uninstall(options: MigrateOptions): Promise<void> {
  await withSession(options.url, async (client) => {
    // One table at a time: dropping a trigger locks readers out too, until the transaction ends.
    const tables = (await isCaptureInstalled(client)) ? await capturedTables(client) : [];
    for (const table of tables) {
      await withShortLocks(
        client,
        options,
        `remove the capture triggers from ${table}`,
        async () => {
          await client.query("select account_sync.remove_capture($1)", [table]);
        },
      );
    }
    await withShortLocks(client, options, "drop schema account_sync", async () => {
      await client.query("drop schema if exists account_sync cascade");
    });
  });
}

/** The schema version this code brings. */
export function latestMigration(): number {
  return readdirSync(`${sqlDirectory}migrations`).filter((file) => file.endsWith(".sql")).length;
}

async function withSession<T>(url: string, work: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client({
    ...connectionOptions({
      url,
      applicationName: "account-sync migrate",
      pooled: true,
      synchronousCommit: "on",
    }),
    // Waiting for another migration is fine for longer than a statement usually takes.
    query_timeout: INSTALL_DEADLINE_MS,
  });
  client.on("error", () => {});
  try {
    await client.connect();
    // The role's own limits are meant for the application's statements.
    await client.query("set statement_timeout = 0");
    await client.query(`set lock_timeout = ${INSTALL_DEADLINE_MS - 5_000}`);
    await client.query(`select pg_advisory_lock(${ADVISORY_LOCK})`);
    await client.query("reset lock_timeout");
    return await work(client);
  } catch (error) {
    throw explained(error, url);
  } finally {
    await client.end().catch(() => {});
  }
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
  if (version <= latestMigration()) return version;
  throw new OperatorError(
    `Schema account_sync is at version ${version}, and this account-sync knows versions up to ${latestMigration()}.`,
    {
      hint: "Start the newer account-sync that upgraded it; this older one would not understand its rows.",
    },
  );
}

/**
 * The migrations, each in a transaction of its own. One that changes the change table waits for every transaction of the application
 * that has written, and later writers would wait behind it: it gets no longer than a trigger.
 */
async function upgrade(client: pg.Client, options: MigrateOptions): Promise<void> {
  await client.query("set search_path = account_sync");
  await client.query(`set lock_timeout = ${LOCK_TIMEOUT_MS}`);
  await whileLocked(options, "upgrade schema account_sync", async () => {
    // The package's own errors say nothing of the server's code.
    let refusal: unknown = null;
    const noted = {
      query: (sql: string) =>
        client.query(sql).catch((error: unknown) => {
          refusal ??= error;
          throw error;
        }),
    } as pg.Client;
    try {
      await runMigrations({ client: noted }, `${sqlDirectory}migrations`);
    } catch (error) {
      throw refusal ?? error;
    }
  });
  await client.query("reset lock_timeout");
  await client.query("reset search_path");
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
 * Creating a trigger waits for every open transaction that wrote to the table, and while it waits, later writers wait behind it.
 * So it waits for a fifth of a second at most and tries again, in a transaction of its own.
 */
async function withShortLocks(
  client: pg.Client,
  options: MigrateOptions,
  doing: string,
  work: () => Promise<void>,
): Promise<void> {
  await whileLocked(options, doing, async () => {
    try {
      await client.query("begin");
      await client.query(`set local lock_timeout = ${LOCK_TIMEOUT_MS}`);
      await work();
      await client.query("commit");
    } catch (error) {
      // A connection that broke cannot roll back, and its first error says more.
      await client.query("rollback").catch(() => {});
      throw error;
    }
  });
}

/** Tries again and again while somebody holds what `work` needs to lock. */
async function whileLocked(
  options: MigrateOptions,
  doing: string,
  work: () => Promise<void>,
): Promise<void> {
  const deadline = performance.now() + INSTALL_DEADLINE_MS;
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await work();
    } catch (error) {
      const isLocked = errorCode(error) === "55P03" || errorCode(error) === "40P01";
      if (!isLocked) throw error;
      if (performance.now() > deadline) {
        throw new OperatorError(
          `Could not ${doing}: a transaction has held the table for ${INSTALL_DEADLINE_MS / 1000} s.`,
          {
            hint: "Look for it with: select pid, state, xact_start, query from pg_stat_activity where xact_start is not null order by xact_start; then run `account-sync migrate` again. What was installed so far stays and is harmless.",
            cause: error,
          },
        );
      }
      if (attempt % 20 === 1) options.info(`Waiting for a long transaction to end, to ${doing}`);
      await sleep(300 + Math.random() * 700);
    }
  }
}
