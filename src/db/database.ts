/**
 * Connections to PostgreSQL: a pool that survives killed backends and blackholes, and transactions that always end.
 *
 * Knows nothing of accounts. Timeouts: `statement_timeout` cancels on the server, `query_timeout` makes the driver give up a socket
 * without an answer; the first is the shorter one, or a statement would go on after we stopped listening.
 */
import pg from "pg";
import { parseConnectionUrl } from "./connection-url.ts";
import { isIdentityCollision, type RepairedIdentity, repairIdentities } from "./identities.ts";
import { sqlOf } from "./queries.ts";
import { isTlsFailure } from "./tls-failure.ts";

export interface Queryable {
  /** Runs `sql/queries/<name>.sql`. */
  run<Row>(name: string, params?: readonly unknown[]): Promise<Row[]>;
}

export interface Transaction extends Queryable {
  /**
   * Runs `work` in a savepoint: when it fails, its error is the result, and the transaction goes on without it. Deferred constraints are
   * checked at its end, or a violation would appear at the commit only, and roll back everything.
   */
  trySavepoint<T>(
    work: () => Promise<T>,
  ): Promise<{ readonly value: T } | { readonly error: unknown }>;
}

export interface Database extends Queryable {
  /**
   * Commits when `work` resolves, rolls back when it rejects. Never hold one open during a request to the API. `work` has to be
   * repeatable: it is run again where an id was given out twice.
   */
  transaction<T>(work: (tx: Transaction) => Promise<T>, isolation?: Isolation): Promise<T>;
  /** Sets the sequences of ours that are behind their tables. */
  repairIdentities(): Promise<void>;
  close(): Promise<void>;
}

export interface DatabaseOptions {
  readonly url: string;
  readonly applicationName: string;
  readonly max: number;
  /** `off` may be used for what a crash only repeats (folds, claims); never for ids and the journal. */
  readonly synchronousCommit: "on" | "off";
  /**
   * Whether settings are given to each transaction instead of the session: behind a pooler (pooling.ts) startup options are refused, and
   * a session's state does not last.
   */
  readonly settingsPerTransaction: boolean;
  /** A connection broke while it was idle. */
  readonly onError: (error: Error) => void;
  /** A sequence of ours was behind its table: an id was about to be given out twice. */
  readonly onRepaired?: ((repaired: RepairedIdentity) => void) | undefined;
}

/**
 * No statement of ours comes near it: the work is done in chunks. In a blackhole nothing else ends a query that is under way: with the
 * grace, and the second until the next query, an outage is noticed within twenty seconds.
 */
const STATEMENT_TIMEOUT_MS = 15_000;
/** For the server's answer that it has cancelled the statement. */
const ANSWER_GRACE_MS = 2_000;
/** Shorter than a statement: a table that is being altered or indexed is another error than a slow statement. */
const LOCK_TIMEOUT_MS = 10_000;
/** A transaction whose process stopped in the middle of it is ended, and the rows that it locks, ours or the application's, are free again. */
const SILENCE_TIMEOUT_MS = 5_000;
const GUARDS = [STATEMENT_TIMEOUT_MS, LOCK_TIMEOUT_MS, SILENCE_TIMEOUT_MS];

export function connectionOptions(
  options: Pick<
    DatabaseOptions,
    "url" | "applicationName" | "settingsPerTransaction" | "synchronousCommit"
  >,
): pg.ClientConfig {
  const { client, options: urlOptions } = parseConnectionUrl(options.url);
  return {
    // Not the URL itself: values that the driver finds in it would replace the ones below.
    ...client,
    keepAlive: true,
    keepAliveInitialDelayMillis: 10_000,
    connectionTimeoutMillis: 5_000,
    query_timeout: STATEMENT_TIMEOUT_MS + ANSWER_GRACE_MS,
    ...(options.settingsPerTransaction
      ? { options: urlOptions }
      : {
          // Behind a pooler it would stay on a session that the application gets next.
          application_name: options.applicationName,
          statement_timeout: STATEMENT_TIMEOUT_MS,
          idle_in_transaction_session_timeout: SILENCE_TIMEOUT_MS,
          options: [
            // In front: of two values for one setting the server uses the later one.
            urlOptions,
            // The session of a daemon whose machine is gone, and its row locks, end within ten seconds.
            "-c tcp_keepalives_idle=5 -c tcp_keepalives_interval=2 -c tcp_keepalives_count=2 -c tcp_user_timeout=10000",
            // Hidden rows become an error instead of looking deleted.
            "-c row_security=off",
            // With a stricter default of the database, statements that meet the application's changes would fail with 40001.
            "-c default_transaction_isolation=read\\ committed",
            `-c lock_timeout=${LOCK_TIMEOUT_MS}`,
            `-c synchronous_commit=${options.synchronousCommit}`,
          ]
            .join(" ")
            .trim(),
        }),
  };
}

export function createDatabase(options: DatabaseOptions): Database {
  const pool = new pg.Pool({
    ...connectionOptions(options),
    max: options.max,
    idleTimeoutMillis: 60_000,
    // An application that uses the library may end without closing it.
    allowExitOnIdle: true,
  });
  // A killed idle client emits `error` on the pool, a checked-out one on itself; without a listener either ends the process.
  const onError = (error: Error) => {
    // pool.end() resolves before the last socket is closed; an error of that one does not matter.
    if (!pool.ending) options.onError(error);
  };
  pool.on("error", onError);
  pool.on("connect", (client) => client.on("error", onError));
  return { ...databaseOver(pool, options), close: () => pool.end() };
}

/** What is used of a pool: the simulation has its own, and the library is given one. */
export type ConnectionPool = Pick<pg.Pool, "query" | "connect">;

export function databaseOver(
  pool: ConnectionPool,
  options: Pick<DatabaseOptions, "settingsPerTransaction" | "onRepaired">,
): Omit<Database, "close"> {
  const transact = <T>(work: (tx: Transaction) => Promise<T>, isolation: Isolation) =>
    transactOn(pool, options, work, isolation);
  const repair = async () => {
    for (const one of await repairIdentities((work) => transact(work, "read committed")))
      options.onRepaired?.(one);
  };
  return {
    run: (name, params) => repairing(repair, () => runOn(pool, name, params)),
    transaction: (work, isolation = "read committed") =>
      repairing(repair, () => transact(work, isolation)),
    repairIdentities: repair,
  };
}

/** A sequence that is set back again and again is not ours to keep up with: then the statement fails. */
const REPAIRS_MAX = 3;

/** Where an id was given out twice, its sequence is set and `work`, which was rolled back, is run again. */
async function repairing<T>(repair: () => Promise<void>, work: () => Promise<T>): Promise<T> {
  for (let repairs = 0; ; repairs += 1) {
    try {
      return await work();
    } catch (error) {
      if (!isIdentityCollision(error) || repairs === REPAIRS_MAX) throw error;
      await repair();
    }
  }
}

type Isolation = "read committed" | "repeatable read, read only";

async function transactOn<T>(
  pool: ConnectionPool,
  options: Pick<DatabaseOptions, "settingsPerTransaction">,
  work: (tx: Transaction) => Promise<T>,
  isolation: Isolation,
): Promise<T> {
  const client = await pool.connect();
  let broken: Error | undefined;
  try {
    await client.query(`begin transaction isolation level ${isolation}`);
    if (options.settingsPerTransaction) await runOn(client, "guard_transaction", GUARDS);
    const result = await work(transactionOn(client));
    await client.query("commit");
    return result;
  } catch (error) {
    if (isOutage(error)) broken = toError(error);
    // When the rollback fails, too, the connection is in an unknown state: it is closed instead of given back.
    else {
      await client.query("rollback").catch((rollbackError: unknown) => {
        broken = toError(rollbackError);
      });
    }
    throw error;
  } finally {
    client.release(broken);
  }
}

/** Queries on one connection of the caller, in the transaction that it is in. */
export function queryableOn(client: Pick<pg.ClientBase, "query">): Queryable {
  return { run: (name, params) => runOn(client, name, params) };
}

function transactionOn(client: pg.PoolClient): Transaction {
  return {
    run: (name, params) => runOn(client, name, params),
    async trySavepoint(work) {
      await client.query("savepoint attempt");
      try {
        const value = await work();
        await client.query("set constraints all immediate");
        await client.query("release savepoint attempt");
        return { value };
      } catch (error) {
        if (isOutage(error) || isIdentityCollision(error)) throw error;
        await client.query("rollback to savepoint attempt");
        return { error };
      }
    },
  };
}

async function runOn<Row>(
  client: Pick<pg.Pool | pg.ClientBase, "query">,
  name: string,
  params: readonly unknown[] = [],
): Promise<Row[]> {
  const result = await client.query({ text: sqlOf(name), values: [...params], types: TYPES });
  return result.rows as Row[];
}

/** The types in our results. Set for each query, since an application that uses the library may have changed those of the driver. */
const TYPES = new pg.TypeOverrides();
const asItStands = (text: string) => text;
TYPES.setTypeParser(pg.types.builtins.BOOL, (text) => text === "t");
TYPES.setTypeParser(pg.types.builtins.INT4, Number);
TYPES.setTypeParser(pg.types.builtins.FLOAT8, Number);
// A number does not hold all of them exactly.
TYPES.setTypeParser(pg.types.builtins.INT8, asItStands);
TYPES.setTypeParser(pg.types.builtins.TEXT, asItStands);
TYPES.setTypeParser(pg.types.builtins.JSON, (text) => JSON.parse(text) as unknown);
TYPES.setTypeParser(pg.types.builtins.JSONB, (text) => JSON.parse(text) as unknown);

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

function toError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}
