/** What an error of the database is, by its code: an outage, another transaction in the way, a value that cannot be. Pure. */
import { isTlsFailure } from "./tls-failure.ts";

/** PostgreSQL's error code, or the system's: `23505`, `ECONNREFUSED`. */
export function errorCode(error: unknown): string | null {
  if (
    typeof error === "object" &&
    error !== null &&
    "code" in error &&
    typeof error.code === "string"
  )
    return error.code;
  return null;
}

/** The value cannot be one of this column's: 22P02 invalid text, 22003 out of range. */
export function isImpossibleValue(error: unknown): boolean {
  const code = errorCode(error);
  return code === "22P02" || code === "22003";
}

/**
 * The server or the way to it is gone, rather than this statement being wrong: classes 08 (connection), 57P (shutdown), 53
 * (resources), 58030 (its disk), 25006 (a standby), 25P03 (our session was ended), the system's own codes, a certificate that is not
 * (or no longer) accepted, and errors of the driver without a code.
 */
export function isOutage(error: unknown): boolean {
  const code = errorCode(error);
  if (code === null) return error instanceof Error && DRIVER_OUTAGE.test(error.message);
  return (
    /^(?:08...|57P0.|53...|58030|25006|25P03|EAI_[A-Z]+|E[A-Z]+)$/.test(code) || isTlsFailure(code)
  );
}

/** Whole messages of pg and pg-pool: a poison account's error may contain "connection" or "timeout" too. */
const DRIVER_OUTAGE =
  /^(?:The server does not support SSL connections|There was an error establishing an SSL connection|Connection terminated\b.*|Client (?:was closed|has encountered a connection error) and is not queryable|Query read timeout|timeout expired|timeout exceeded when trying to connect)$/;

/** Other transactions were in the way, which a later try need not meet: 40001 serialization, 40P01 deadlock, 55P03 lock not available. */
export function isContention(error: unknown): boolean {
  return /^(?:40001|40P01|55P03)$/.test(errorCode(error) ?? "");
}

/** An earlier statement of the transaction has failed, and this one was not run. */
export function isAborted(error: unknown): boolean {
  return errorCode(error) === "25P02";
}

/**
 * A right that was revoked, a table or column that is gone: classes 28, 3F and 42. The same statement fails for every row,
 * whatever the row holds.
 */
export function isNoRowsFault(error: unknown): boolean {
  return /^(?:28|3F|42)/.test(errorCode(error) ?? "");
}

/** The pool was closed on our side: no later query is answered. */
export function isClosed(error: unknown): boolean {
  return (
    error instanceof Error && error.message === "Cannot use a pool after calling end on the pool"
  );
}
