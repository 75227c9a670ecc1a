/**
 * Installs, upgrades and removes schema `account_sync` and the capture triggers. Safe to repeat, and to run from two places
 * at once.
 *
 * A new schema is one transaction; later each migration is one, and so are the triggers of each source table, since a second lock must not
 * be waited for while the first one is held.
 */
import { readFileSync } from "node:fs";
import pg from "pg";
import { OperatorError } from "../operator-error.ts";
import type { UrlSetting } from "./connection-url.ts";
import { queryableOn } from "./database.ts";
import { explained } from "./explained.ts";
import { grantDump } from "./grant-dump.ts";
import { describeRepaired, repairIdentities } from "./identities.ts";
import {
  INSTALL_DEADLINE_MS,
  inMigrationTransaction,
  type MigrationStep,
} from "./migration-transaction.ts";
import { runMissingMigrations } from "./missing-migrations.ts";
import { connectionOptions } from "./own-settings.ts";
import { requirePreconditions } from "./preconditions.ts";
import { sqlDirectory } from "./queries.ts";
import { diagnoseSchemaVersion, latestMigration, readSchemaVersion } from "./schema-version.ts";

export interface MigrateOptions {
  readonly url: string;
  /** Where `url` stands. Default DATABASE_URL. */
  readonly setting?: UrlSetting;
  readonly info: (message: string) => void;
}

/**
 * @returns how many migrations were run, and whether the schema itself was new
 * @throws OperatorError with what to do: no m_account, no rights, a newer schema, tables that stay locked
 */
export async function migrate(
  options: MigrateOptions,
): Promise<{ migrations: number; createdSchema: boolean }> {
  return await withMigration(options, async (client, transact) => {
    await requirePreconditions(queryableOn(client));
    const { createdSchema, version } = await transact(UPGRADE, async () => {
      const isNew = await createSchema(client);
      const found = await refuseNewerSchema(client);
      // Nothing uses an empty schema yet, ours or an administrator's, so all of it can be one transaction: half of it never stands.
      if (found === 0) await runMissingMigrations(client, "all");
      return { createdSchema: isNew, version: found };
    });
    // What daemons and the application use is locked by one migration at a time.
    while (await transact(UPGRADE, () => runMissingMigrations(client, "next")));
    await transact(UPGRADE, async () => {
      for (const file of ["capture/install_capture.sql", "functions/repair_identities.sql"])
        await client.query(readFileSync(sqlDirectory + file, "utf8"));
    });
    const repaired = await repairIdentities((work) =>
      transact(REPAIR, () => work(queryableOn(client))),
    );
    for (const one of repaired) options.info(describeRepaired(one));
    for (const table of await capturedTables(client)) {
      await transact(onTable("install the capture triggers on", table), async () => {
        await client.query("select account_sync.install_capture($1)", [table]);
      });
    }
    const granted = await transact(GRANT, async () => await grantDump(client));
    for (const message of granted) options.info(message);
    await tellDisabledTriggers(client, options.info);
    return { migrations: latestMigration() - version, createdSchema };
  });
}

/** Leaves the source tables as they were. External ids that were written stay. */
export async function uninstall(options: MigrateOptions): Promise<void> {
  await withMigration(options, async (client, transact) => {
    // One table at a time: dropping a trigger locks readers out too, until the transaction ends.
    const tables = (await isCaptureInstalled(client)) ? await capturedTables(client) : [];
    for (const table of tables) {
      await transact(onTable("remove the capture triggers from", table), async () => {
        await client.query("select account_sync.remove_capture($1)", [table]);
      });
    }
    await transact(DROP, async () => {
      await client.query("drop schema if exists account_sync cascade");
    });
  });
}

const UPGRADE: MigrationStep = { doing: "install or upgrade schema account_sync", tables: [] };
const REPAIR: MigrationStep = { doing: "set the sequences of schema account_sync", tables: [] };
const GRANT: MigrationStep = {
  doing: "let the owners of the source tables dump the schema",
  tables: [],
};
const DROP: MigrationStep = { doing: "drop schema account_sync", tables: [] };

function onTable(doing: string, table: string): MigrationStep {
  return { doing: `${doing} ${table}`, tables: [`public.${table}`] };
}

type Transact = <T>(step: MigrationStep, work: () => Promise<T>) => Promise<T>;

async function withMigration<T>(
  { url, setting, info }: MigrateOptions,
  work: (client: pg.Client, transact: Transact) => Promise<T>,
): Promise<T> {
  const client = new pg.Client({
    ...connectionOptions({
      url,
      applicationName: "account-sync migrate",
      settingsPerTransaction: true,
      synchronousCommit: "on",
    }),
    // Indexing a large table may take longer than a statement usually does.
    query_timeout: INSTALL_DEADLINE_MS,
  });
  client.on("error", () => {});
  try {
    await client.connect();
    return await work(client, (step, task) => inMigrationTransaction(client, info, step, task));
  } catch (error) {
    throw explained(error, url, setting);
  } finally {
    await client.end().catch(() => {});
  }
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
  const version = (await readSchemaVersion(queryableOn(client))) ?? 0;
  const diagnosis = version > latestMigration() ? diagnoseSchemaVersion(version) : null;
  if (diagnosis !== null) throw OperatorError.of(diagnosis);
  return version;
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

/** Triggers may have been disabled on purpose, for a bulk load, so they are reported and left as they are. */
async function tellDisabledTriggers(
  client: pg.Client,
  info: (message: string) => void,
): Promise<void> {
  const disabled = await client.query<{ name: string; table: string }>(
    `select t.tgname as name, t.tgrelid::regclass::text as table
     from pg_trigger t
     join pg_proc f on f.oid = t.tgfoid
     where f.pronamespace = 'account_sync'::regnamespace and t.tgenabled not in ('O', 'A') and t.tgparentid = 0
     order by t.tgrelid, t.tgname`,
  );
  for (const { name, table } of disabled.rows) {
    info(
      `The capture trigger ${name} is disabled, and changes of ${table} go unnoticed: alter table ${table} enable trigger ${name};`,
    );
  }
}
