/** `uninstall`: removes triggers and schema, after a confirmation. */
import { type Config, directDatabase } from "../config.ts";
import { explained } from "../db/explained.ts";
import { uninstall } from "../db/migrate.ts";
import { isPooled } from "../db/pooling.ts";
import { requireSameDatabase } from "../db/same-database.ts";
import { withDatabase } from "../db/with-database.ts";
import { version } from "../version.ts";
import { isConfirmed } from "./confirm.ts";
import { locateDatabase } from "./connect.ts";
import { printJson, printLine, printWarning } from "./output.ts";

export async function uninstallFromDatabase(
  config: Config,
  { json, isSure }: { readonly json: boolean; readonly isSure: boolean },
): Promise<number> {
  const { databaseUrl } = await locateDatabase(config);
  const { url, setting } = directDatabase(config, databaseUrl);
  await requireSameDatabase({ databaseUrl, directUrl: url });
  const found = await findInstalled(url).catch((error: unknown) => {
    throw explained(error, url, setting);
  });
  const asked = {
    question:
      "This removes the queue, the history, every change not delivered yet, and what is known of creates that are not decided: installed again, it sends those anew, under other keys. Stop the daemons first, and look at `account-sync status`.",
    does: "uninstall removes the queue and the history",
    call: "account-sync uninstall --yes",
    json,
  };
  if (found.hasSchema && !isSure && !(await isConfirmed(asked))) {
    printLine("Nothing was removed.");
    return 1;
  }

  if (found.hasSchema)
    await uninstall({ url, setting, info: (message) => printWarning(message, json) });

  if (json) {
    printJson({ removed_schema: found.hasSchema, removed_triggers_from: found.tables });
  } else if (found.hasSchema) {
    const tables = found.tables.length === 0 ? "no table" : found.tables.join(", ");
    printLine(
      `Removed schema account_sync with its queue and history, and the triggers on ${tables}.`,
    );
    printLine("The source tables are as they were; external ids that were written stay.");
    printLine(
      "A role that may not create schemas needs one before the next migrate: create schema account_sync authorization <role>;",
    );
  } else {
    printLine("There is no schema account_sync in this database: nothing to remove.");
  }
  return 0;
}

interface Installed {
  readonly hasSchema: boolean;
  readonly tables: readonly string[];
}

async function findInstalled(url: string): Promise<Installed> {
  const connection = {
    url,
    applicationName: `account-sync ${version} uninstall`,
    settingsPerTransaction: await isPooled(url),
  };
  return await withDatabase(connection, async (db) => {
    const [installed] = await db.run<Installed>("installed_capture");
    return installed ?? { hasSchema: false, tables: [] };
  });
}
