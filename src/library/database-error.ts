import { errorCode } from "../db/database.ts";

/** The error text of a result. The message of PostgreSQL is left out, as it may hold a value of the row. */
export function toDatabaseError(error: unknown): string {
  const code = errorCode(error);
  if (code !== null) return `Database Error: the database failed with ${code}`;
  return `Database Error: ${error instanceof Error ? error.message : "unknown error"}`;
}
