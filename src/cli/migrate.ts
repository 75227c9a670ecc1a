/** `migrate`: installs or upgrades what the daemon needs in the database, and says what it did. */
import { type Config, directDatabase } from "../config.ts";
import { explained } from "../db/explained.ts";
import { migrate } from "../db/migrate.ts";
import { requireSession } from "../db/pooling.ts";
import { requireSameDatabase } from "../db/same-database.ts";
import { latestMigration } from "../db/schema-version.ts";
import { withDatabase } from "../db/with-database.ts";
import { version } from "../version.ts";
import { locateDatabase } from "./connect.ts";
import { printJson, printLine, printText, printWarning } from "./output.ts";
import { counted } from "./wording.ts";

export async function migrateDatabase(
  config: Config,
  { json }: { readonly json: boolean },
): Promise<number> {
  const { databaseUrl } = await locateDatabase(config);
  const { url, setting } = directDatabase(config, databaseUrl);
  await requireSameDatabase({ databaseUrl, directUrl: url });
  const pooling = await requireSession(url, setting);
  const migrated = await migrate({ url, setting, info: (message) => printWarning(message, json) });

  const connection = {
    url,
    applicationName: `account-sync ${version} migrate`,
    settingsPerTransaction: pooling !== "none",
  };
  await withDatabase(connection, async (db) => {
    const [installed] = await db.run<{ tables: string[] }>("installed_capture");
    // For the message only: among very many accounts the count may take longer than a statement may.
    const [unqueued] = await db.run<{ count: number }>("count_unqueued").catch(() => []);
    report({
      json,
      ...migrated,
      tables: installed?.tables ?? [],
      unqueued: unqueued?.count ?? 0,
    });
  }).catch((error: unknown) => {
    throw explained(error, url, setting);
  });
  return 0;
}

interface MigrationReport {
  readonly json: boolean;
  readonly migrations: number;
  readonly createdSchema: boolean;
  readonly tables: readonly string[];
  readonly unqueued: number;
}

function report({ json, migrations, createdSchema, tables, unqueued }: MigrationReport): void {
  if (json) {
    printJson({
      schema_version: latestMigration(),
      created_schema: createdSchema,
      migrations_applied: migrations,
      captured_tables: tables,
      unqueued_accounts: unqueued,
    });
    return;
  }

  // An administrator may have created the schema, empty.
  const done =
    createdSchema || migrations === latestMigration()
      ? "installed"
      : migrations > 0
        ? `upgraded by ${counted(migrations, "migration")}`
        : "there already, nothing to do";
  printLine(`Schema account_sync, version ${latestMigration()}: ${done}.`);
  printLine(`Changes are captured on ${tables.join(", ")}.`);
  if (unqueued > 0) {
    printText(
      `${counted(unqueued, "account")} from before the first migrate are not sent until they change; to send them: \`account-sync backfill\``,
    );
  }
}
