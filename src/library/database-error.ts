import { errorCode, isClosed, isOutage } from "../db/error-code.ts";

export const CLOSED = "account-sync was closed";

/** The error text of a result. The message of PostgreSQL is left out, as it may hold a value of the row. */
export function toDatabaseError(error: unknown): string {
  const code = errorCode(error);
  if (code !== null) return `Database Error: the database failed with ${code}`;
  if (isClosed(error)) return `Database Error: ${CLOSED}`;
  return `Database Error: ${error instanceof Error ? error.message : "unknown error"}`;
}

/** Why ids were not written. */
export function toDatabaseReason(error: unknown): string {
  if (!isOutage(error)) return toDatabaseError(error);
  const code = errorCode(error);
  return code === null ? "Database connection failed" : `Database connection failed (${code})`;
}
