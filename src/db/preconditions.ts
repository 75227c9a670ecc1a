/**
 * What has to hold before migrate changes anything. Without it migrate would fail in the middle, with an error of the server that says
 * nothing of the remedy. The checks use the same words.
 */
import { type Diagnosis, OperatorError } from "../operator-error.ts";
import type { Queryable } from "./database.ts";
import { findForeignOwner, findHollowSchema, type Installation } from "./installation.ts";
import { readSchemaVersion } from "./schema-version.ts";
import { findOldServer } from "./server-version.ts";

/** Schema account_sync cannot be used as it is. The checks find what else is wrong. */
export class UnsoundSchemaError extends OperatorError {
  constructor({ problem, remedy }: Diagnosis) {
    super(problem, { hint: remedy });
  }
}

/** @throws OperatorError */
export async function requirePreconditions(db: Queryable): Promise<void> {
  const oldServer = await findOldServer(db);
  if (oldServer !== null) {
    const { problem, remedy } = oldServer;
    throw new OperatorError(problem, { hint: `${remedy} Nothing was installed.` });
  }
  const missing = await findMissingTables(db);
  if (missing !== null) throw OperatorError.of(missing);
  const unsound = await findUnsoundSchema(db);
  if (unsound !== null) throw new UnsoundSchemaError(unsound);
}

const REQUIRED_TABLES = ["m_account", "m_account_package_tier", "m_account_pic"];

async function findMissingTables(db: Queryable): Promise<Diagnosis | null> {
  const [found] = await db.run<{ database: string; missing: string[] }>("find_missing_tables", [
    REQUIRED_TABLES,
  ]);
  if (found === undefined || found.missing.length === 0) return null;
  return diagnoseMissingTables(found.missing, `The database "${found.database}"`);
}

/** @param where begins the sentence */
export function diagnoseMissingTables(
  tables: readonly string[],
  where = "The database",
): Diagnosis {
  return {
    problem: `${where} has no table ${tables.map((table) => `public.${table}`).join(", ")}.`,
    remedy:
      "account-sync goes beside the database of the application that keeps its accounts there: check DATABASE_URL, and run the application's own migrations first.",
  };
}

async function findUnsoundSchema(db: Queryable): Promise<Diagnosis | null> {
  const [installation] = await db.run<Installation>("check_installation");
  if (installation === undefined) return null;
  return (
    findForeignOwner(installation) ??
    findHollowSchema(installation, (await readSchemaVersion(db)) ?? 0)
  );
}
