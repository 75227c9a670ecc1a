/** What the server, or the way to it, said: put into one sentence for a person, with what to do about it. */
import { OperatorError } from "../operator-error.ts";
import { type ConnectionUrl, readConnectionUrl, type UrlSetting } from "./connection-url.ts";
import { errorCode, isOutage } from "./database.ts";
import { explainTls } from "./tls-failure.ts";

/** Turns what the server said into what to do about it. */
export function explained(
  error: unknown,
  url: string,
  setting: UrlSetting = "DATABASE_URL",
): unknown {
  if (error instanceof OperatorError) return error;
  const cause =
    error instanceof Error && error.cause instanceof Error && errorCode(error) === null
      ? error.cause
      : error;
  const code = errorCode(cause);
  const said = cause instanceof Error ? cause.message : String(cause);
  const { connection } = readConnectionUrl(url);
  const { place } = connection;
  const encryption = explainTls({ code, said }, connection, setting);
  if (encryption !== null) return OperatorError.of(encryption, { cause });

  switch (code) {
    case "ECONNREFUSED":
    case "ENOTFOUND":
    case "EAI_AGAIN":
    case "ETIMEDOUT":
    case "EHOSTUNREACH":
      return new OperatorError(`Could not connect to PostgreSQL at ${place}: ${code}.`, {
        hint: `Check that the server runs and that ${setting} names its host and port. Changes made meanwhile are kept in the database.`,
        cause,
      });
    case "0A000":
      // A statement that is not supported has the same code.
      return REFUSES_OPTIONS.test(said)
        ? explainRefusedOptions(connection, said, cause, setting)
        : error;
    case "08P01":
      if (HAS_NO_SERVER.test(said)) {
        return new OperatorError(`The pooler at ${place} cannot reach its server: ${said}.`, {
          hint: "Check that PostgreSQL runs, and what the pooler's own log says. Changes made meanwhile are kept in the database.",
          cause,
        });
      }
      return explainRefusedOptions(connection, said, cause, setting);
    case "28P01":
    case "28000":
      return new OperatorError(`PostgreSQL at ${place} refused the login: ${said}.`, {
        hint: `Check user and password in ${setting} (or ${setting}_FILE).`,
        cause,
      });
    case "3D000":
      return new OperatorError(`PostgreSQL at ${place} has no such database: ${said}.`, {
        hint: `Check the database name at the end of ${setting}.`,
        cause,
      });
    case "42501":
      return new OperatorError(`The database role lacks a right: ${said}.`, {
        hint: /for database /.test(said)
          ? `Run as an administrator of the database: create schema account_sync authorization "${connection.client.user ?? "<role>"}";`
          : "The check `rights` of `account-sync doctor` prints what to run: the GRANT that is missing, or the change of owner after a restore.",
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
    case "53200":
      return new OperatorError(`PostgreSQL at ${place} has no memory left for this: ${said}.`, {
        hint: "Where a table has thousands of partitions, raise max_locks_per_transaction and restart the server; otherwise look into its log. Changes made meanwhile are kept in the database.",
        cause,
      });
    case "42703":
      return new OperatorError(`The source tables are not as expected: ${said}.`, {
        hint: `account-sync goes beside the database of the application that keeps its accounts there: check ${setting}, and run the application's own migrations first.`,
        cause,
      });
    case "55P03":
      return new OperatorError(`PostgreSQL at ${place} did not give a lock in time: ${said}.`, {
        hint: "Another migrate or uninstall may be waiting for a long transaction: let it finish, or end it, and try again.",
        cause,
      });
    case "25006":
      return new OperatorError(`PostgreSQL at ${place} is read-only: ${said}.`, {
        hint: `${setting} must point to the primary, not to a standby.`,
        cause,
      });
    default:
      // What the driver says, without a code, when a server asks for a password and there is none.
      if (
        code === null &&
        /password must be a (?:non-empty )?string|no password supplied/i.test(said)
      ) {
        return new OperatorError(
          `PostgreSQL at ${place} asks for a password, and ${setting} has none.`,
          {
            hint: `Write it into ${setting} (or ${setting}_FILE): postgres://user:password@host:5432/database`,
            cause,
          },
        );
      }
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

/** RDS Proxy: "currently doesn't support command-line options". */
const REFUSES_OPTIONS = /command-line options|startup (?:options|parameter)/i;

/** What PgBouncer says for a server that is down, refuses it, or has no connection left. */
const HAS_NO_SERVER =
  /server login|server_login|cannot connect to server|query_wait_timeout|server conn(?:ection)? (?:crashed|closed)|pgbouncer is shutting down/i;

/** 08P01 and 0A000: what a pooler or proxy says to the settings that a session starts with. */
function explainRefusedOptions(
  { place, options }: ConnectionUrl,
  said: string,
  cause: unknown,
  setting: UrlSetting,
): OperatorError {
  return new OperatorError(
    `What answers at ${place} does not take the settings of a session: ${said.replace(/\.$/, "")}.`,
    {
      hint: `If it is a transaction pooler or proxy, set LISTEN_DATABASE_URL to a direct connection to the same database${options === "" ? "" : `, and leave options= out of ${setting}`}.`,
      cause,
    },
  );
}
