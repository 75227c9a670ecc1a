/** An error of the server, or of the way to it → an OperatorError: one sentence about what came back, and what to do about it. */
import { type Diagnosis, OperatorError } from "../operator-error.ts";
import { readConnectionUrl, type UrlSetting } from "./connection-url.ts";
import { errorCode, isOutage } from "./error-code.ts";
import { toRefusal } from "./raised.ts";
import { type ConnectionFailure, explainTls } from "./tls-failure.ts";

/**
 * @param url where the error came from; messages name its place, never its user or password
 * @param setting where that URL stands
 * @returns an OperatorError with the error as its cause; the error itself where nothing is known about it
 */
export function explained(
  error: unknown,
  url: string,
  setting: UrlSetting = "DATABASE_URL",
): unknown {
  if (error instanceof OperatorError) return error;
  const refusal = toRefusal(error);
  if (refusal !== null) return OperatorError.of(refusal, { cause: error });
  const cause =
    error instanceof Error && error.cause instanceof Error && errorCode(error) === null
      ? error.cause
      : error;
  const failure = {
    code: errorCode(cause),
    said: cause instanceof Error ? cause.message : String(cause),
    connection: readConnectionUrl(url).connection,
    setting,
  };
  const diagnosis =
    explainTls(failure) ??
    (failure.code === null ? explainDriver(failure) : BY_CODE.get(failure.code)?.(failure)) ??
    (isOutage(cause) ? explainOutage(failure) : null);
  return diagnosis === null ? error : OperatorError.of(diagnosis, { cause });
}

type Explain = (failure: ConnectionFailure) => Diagnosis | null;

const explainUnreachable: Explain = ({ code, connection: { place }, setting }) => ({
  problem: `Could not connect to PostgreSQL at ${place}: ${code}.`,
  remedy: `Check that the server runs and that ${setting} names its host and port. Changes made meanwhile are kept in the database.`,
});

const explainLogin: Explain = ({ said, connection: { place }, setting }) => ({
  problem: `PostgreSQL at ${place} refused the login: ${said}.`,
  remedy: `Check user and password in ${setting} (or ${setting}_FILE).`,
});

/** Codes of PostgreSQL and of the system. null: the code alone says too little, as with 0A000 (feature not supported). */
const BY_CODE: ReadonlyMap<string, Explain> = new Map<string, Explain>([
  ["ECONNREFUSED", explainUnreachable],
  ["ENOTFOUND", explainUnreachable],
  ["EAI_AGAIN", explainUnreachable],
  ["ETIMEDOUT", explainUnreachable],
  ["EHOSTUNREACH", explainUnreachable],
  ["28P01", explainLogin],
  ["28000", explainLogin],
  // What poolers and proxies answer to the settings that a session starts with.
  ["0A000", (failure) => (REFUSES_OPTIONS.test(failure.said) ? explainOptions(failure) : null)],
  [
    "08P01",
    (failure) =>
      HAS_NO_SERVER.test(failure.said)
        ? {
            problem: `The pooler at ${failure.connection.place} cannot reach its server: ${failure.said}.`,
            remedy:
              "Check that PostgreSQL runs, and what the pooler's own log says. Changes made meanwhile are kept in the database.",
          }
        : explainOptions(failure),
  ],
  [
    "3D000",
    ({ said, connection: { place }, setting }) => ({
      problem: `PostgreSQL at ${place} has no such database: ${said}.`,
      remedy: `Check the database name at the end of ${setting}.`,
    }),
  ],
  [
    "42501",
    ({ said, connection: { client } }) => ({
      problem: `The database role lacks a right: ${said}.`,
      remedy: said.includes("for database ")
        ? `Run as an administrator of the database: create schema account_sync authorization "${client.user ?? "<role>"}";`
        : "The check `rights` of `account-sync doctor` prints what to run: the GRANT that is missing, or the change of owner after a restore.",
    }),
  ],
  [
    "22P05",
    ({ said, connection: { place } }) => ({
      problem: `The database at ${place} cannot store a character of what was given: ${said}.`,
      remedy:
        "Its encoding is older than UTF-8 and has no such character: write the value without it.",
    }),
  ],
  [
    "53200",
    ({ said, connection: { place } }) => ({
      problem: `PostgreSQL at ${place} has no memory left for this: ${said}.`,
      remedy:
        "Where a table has thousands of partitions, raise max_locks_per_transaction and restart the server; otherwise look into its log. Changes made meanwhile are kept in the database.",
    }),
  ],
  [
    "42703",
    ({ said, setting }) => ({
      problem: `The source tables are not as expected: ${said}.`,
      remedy: `account-sync goes beside the database of the application that keeps its accounts there: check ${setting}, and run the application's own migrations first.`,
    }),
  ],
  [
    "55P03",
    ({ said, connection: { place } }) => ({
      problem: `PostgreSQL at ${place} did not give a lock in time: ${said}.`,
      remedy:
        "Another migrate or uninstall may be waiting for a long transaction: let it finish, or end it, and try again.",
    }),
  ],
  [
    "25006",
    ({ said, connection: { place }, setting }) => ({
      problem: `PostgreSQL at ${place} is read-only: ${said}.`,
      remedy: `${setting} must point to the primary, not to a standby.`,
    }),
  ],
]);

/** RDS Proxy: "currently doesn't support command-line options". */
const REFUSES_OPTIONS = /command-line options|startup (?:options|parameter)/i;

/** What PgBouncer says for a server that is down, refuses it, or has no connection left. */
const HAS_NO_SERVER =
  /server login|server_login|cannot connect to server|query_wait_timeout|server conn(?:ection)? (?:crashed|closed)|pgbouncer is shutting down/i;

function explainOptions({
  said,
  connection: { place, options },
  setting,
}: ConnectionFailure): Diagnosis {
  return {
    problem: `What answers at ${place} does not take the settings of a session: ${said.replace(/\.$/, "")}.`,
    remedy: `If it is a transaction pooler or proxy, set LISTEN_DATABASE_URL to a direct connection to the same database${options === "" ? "" : `, and leave options= out of ${setting}`}.`,
  };
}

/** Errors of the driver itself, which have no code. */
function explainDriver({
  said,
  connection: { place },
  setting,
}: ConnectionFailure): Diagnosis | null {
  // The server asks for a password, and there is none.
  if (/password must be a (?:non-empty )?string|no password supplied/i.test(said)) {
    return {
      problem: `PostgreSQL at ${place} asks for a password, and ${setting} has none.`,
      remedy: `Write it into ${setting} (or ${setting}_FILE): postgres://user:password@host:5432/database`,
    };
  }
  if (!/timeout|terminated/i.test(said)) return null;
  return {
    problem: `PostgreSQL at ${place} does not answer: ${said}.`,
    remedy: "Check the way to the server (firewall, security group) and that it is not overloaded.",
  };
}

function explainOutage({ code, said, connection: { place } }: ConnectionFailure): Diagnosis {
  return {
    problem: `PostgreSQL at ${place} is not available: ${code ?? said}.`,
    remedy:
      "Try again when it is back. Changes, and syncs that were asked for, are kept in the database.",
  };
}
