/** What the server, or the way to it, said: put into one sentence for a person, with what to do about it. */
import { OperatorError } from "../operator-error.ts";
import { errorCode, isOutage } from "./database.ts";

/** Turns what the server said into what to do about it. */
export function explained(error: unknown, url: string): unknown {
  if (error instanceof OperatorError) return error;
  const cause =
    error instanceof Error && error.cause instanceof Error && errorCode(error) === null
      ? error.cause
      : error;
  const code = errorCode(cause);
  const said = cause instanceof Error ? cause.message : String(cause);
  const place = placeOf(url);

  switch (code) {
    case "ECONNREFUSED":
    case "ENOTFOUND":
    case "EAI_AGAIN":
    case "ETIMEDOUT":
    case "EHOSTUNREACH":
      return new OperatorError(`Could not connect to PostgreSQL at ${place}: ${code}.`, {
        hint: "Check that the server runs and that DATABASE_URL names its host and port. Changes made meanwhile are kept in the database.",
        cause,
      });
    case "08P01":
      return new OperatorError(
        `What answers at ${place} does not take the settings of a session: ${said}.`,
        {
          hint: "If it is a transaction pooler, set LISTEN_DATABASE_URL to a direct connection to the same database.",
          cause,
        },
      );
    case "28P01":
    case "28000":
      return new OperatorError(`PostgreSQL at ${place} refused the login: ${said}.`, {
        hint: "Check user and password in DATABASE_URL (or DATABASE_URL_FILE).",
        cause,
      });
    case "3D000":
      return new OperatorError(`PostgreSQL at ${place} has no such database: ${said}.`, {
        hint: "Check the database name at the end of DATABASE_URL.",
        cause,
      });
    case "42501":
      return new OperatorError(`The database role lacks a right: ${said}.`, {
        hint: "The role in DATABASE_URL must own the source tables (or have TRIGGER, SELECT and UPDATE on them) and may create a schema: grant create on database … to …; grant trigger, select, update on … to …;",
        cause,
      });
    case "22P05":
      return new OperatorError(
        `The database at ${place} cannot store a character of what was given: ${said}.`,
        {
          hint: "Its encoding is older than UTF-8 and has no such character: write the value without it.",
          cause,
        },
      );
    case "42703":
      return new OperatorError(`The source tables are not as expected: ${said}.`, {
        hint: "account-sync goes beside the database of the application that keeps its accounts there: check DATABASE_URL, and run the application's own migrations first.",
        cause,
      });
    case "55P03":
      return new OperatorError(`PostgreSQL at ${place} did not give a lock in time: ${said}.`, {
        hint: "Another migrate or uninstall may be waiting for a long transaction: let it finish, or end it, and try again.",
        cause,
      });
    case "25006":
      return new OperatorError(`PostgreSQL at ${place} is read-only: ${said}.`, {
        hint: "DATABASE_URL must point to the primary, not to a standby.",
        cause,
      });
    default:
      if (code === null && /timeout|terminated/i.test(said)) {
        return new OperatorError(`PostgreSQL at ${place} does not answer: ${said}.`, {
          hint: "Check the way to the server (firewall, security group) and that it is not overloaded.",
          cause,
        });
      }
      if (isOutage(cause)) {
        return new OperatorError(`PostgreSQL at ${place} is not available: ${code ?? said}.`, {
          hint: "Try again when it is back. Changes, and syncs that were asked for, are kept in the database.",
          cause,
        });
      }
      return error;
  }
}

function placeOf(url: string): string {
  try {
    const { host, pathname } = new URL(url);
    return `${host || "the default socket"}${pathname}`;
  } catch {
    return "DATABASE_URL";
  }
}
