/** The version of schema account_sync: which one this code brings, which one is installed, and what is wrong where they differ. */
import { readdirSync } from "node:fs";
import type { Diagnosis } from "../operator-error.ts";
import type { Queryable } from "./database.ts";
import { errorCode } from "./error-code.ts";
import { sqlDirectory } from "./queries.ts";

/** The version this code brings: the number of its migrations. */
export function latestMigration(): number {
  return readdirSync(`${sqlDirectory}migrations`).filter((file) => file.endsWith(".sql")).length;
}

/** null: there is no schema. 0: it has no migrations yet. */
export async function readSchemaVersion(db: Queryable): Promise<number | null> {
  try {
    const [row] = await db.run<{ version: number }>("schema_version");
    return row?.version ?? null;
  } catch (error) {
    // 42P01: no such table, 3F000: no such schema.
    if (/^(?:42P01|3F000)$/.test(errorCode(error) ?? "")) return null;
    throw error;
  }
}

/** Null where the installed version is the one of this code. @param installed null: there is no schema */
export function diagnoseSchemaVersion(installed: number | null): Diagnosis | null {
  const known = latestMigration();
  if (installed === known) return null;
  if (installed === null) {
    return { problem: "The database has no schema account_sync yet.", remedy: MIGRATE };
  }
  return installed > known
    ? {
        problem: `Schema account_sync is at version ${installed}, and this account-sync knows versions up to ${known}.`,
        remedy:
          "Use the newer account-sync that upgraded it; this older one would not understand its rows.",
      }
    : {
        problem: `Schema account_sync is at version ${installed}, and this account-sync needs version ${known}.`,
        remedy: MIGRATE,
      };
}

const MIGRATE = "Run `account-sync migrate` first; `account-sync start` does it, too.";
