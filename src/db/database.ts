/**
 * Connections to PostgreSQL: a pool that survives killed backends and blackholes, and transactions that always end.
 *
 * Knows nothing of accounts. Timeouts: `statement_timeout` cancels on the server, `query_timeout` makes the driver give up a socket
 * without an answer; the first is the shorter one, or a statement would go on after we stopped listening.
 */
import type { Duplex } from "node:stream";
import pg from "pg";
import { parseConnectionUrl } from "./connection-url.ts";
import { isAborted, isOutage } from "./error-code.ts";
import { isIdentityCollision, type RepairedIdentity, repairIdentities } from "./identities.ts";
import { repeatIfStale, StatementNames } from "./prepared-statements.ts";
import { sqlOf } from "./queries.ts";
import { toError } from "./to-error.ts";

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
  transaction<T>(work: (tx: Transaction) => Promise<T>): Promise<T>;
  /**
   * Reads from one snapshot. With tables of `public`, it is taken once none of them is being altered, and none is until it has ended: a
   * snapshot that waits for a table shows what the table was, under the name of what it has become, which may be nothing.
   *
   * @throws 55P03 when a table is locked for long
   */
  snapshot<T>(work: (tx: Queryable) => Promise<T>, tables?: readonly string[]): Promise<T>;
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
/**
 * For a table that is being altered, which a snapshot waits for with other tables locked: shorter than the second after which the server
 * looks for deadlocks, so that the application is never the one that it ends; and what waits behind us waits no longer either.
 */
const TABLE_LOCK_TIMEOUT_MS = 200;

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
            // A plan is kept for as long as nothing is analyzed: one that was made while a table was empty must not read the whole of it when it
            // holds a million rows. Compiling one is dearer than running it.
            "-c enable_seqscan=off -c jit=off -c plan_cache_mode=force_generic_plan",
            `-c lock_timeout=${LOCK_TIMEOUT_MS}`,
            `-c synchronous_commit=${options.synchronousCommit}`,
          ]
            .join(" ")
            .trim(),
        }),
  };
}

/** Stay open however long nothing happens: a new one connects and prepares its statements, which makes the next edit's way twice as long. */
const KEPT_SESSIONS = 3;

export function createDatabase(options: DatabaseOptions): Database {
  // Behind a pooler a prepared statement may be looked for in another session than the one that has it.
  const isOwnSession = !options.settingsPerTransaction;
  const pool = new pg.Pool({
    ...connectionOptions(options),
    pipeline: isOwnSession,
    max: options.max,
    min: Math.min(KEPT_SESSIONS, options.max),
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
  return {
    ...databaseOver(pool, { ...options, isOwnSession }),
    close: () => pool.end(),
  };
}

/** What is used of a pool: the simulation has its own, and the library is given one. */
export type ConnectionPool = Pick<pg.Pool, "query" | "connect">;

export interface PoolOptions
  extends Pick<DatabaseOptions, "settingsPerTransaction" | "onRepaired"> {
  /**
   * The sessions behind the pool are ours alone, and pipelining is on: statements are prepared once for each, and several go out without
   * waiting for each other's answers. Default false.
   */
  readonly isOwnSession?: boolean;
}

export function databaseOver(pool: ConnectionPool, options: PoolOptions): Omit<Database, "close"> {
  const statementNames = options.isOwnSession === true ? new StatementNames() : null;
  const transact = <T>(work: (tx: Transaction) => Promise<T>, beginning: Beginning) =>
    repeatIfStale(statementNames, (names) => transactOn(pool, options, work, beginning, names));
  const repair = async () => {
    for (const one of await repairIdentities((work) => transact(work, toWrite(options))))
      options.onRepaired?.(one);
  };
  return {
    run: (name, params) =>
      repairing(repair, () =>
        repeatIfStale(statementNames, (names) => runOn(pool, name, params, names)),
      ),
    transaction: (work) => repairing(repair, () => transact(work, toWrite(options))),
    snapshot: (work, tables = []) => transact(work, toRead(options, tables)),
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

/** How a transaction begins. */
interface Beginning {
  /** Statements that take no snapshot. */
  readonly statements: readonly string[];
  /** What only reads waits neither for its begin nor for its commit: where the first fails, what was read is dropped. */
  readonly isOnlyReading: boolean;
}

function toWrite(options: PoolOptions): Beginning {
  const begin = "begin transaction isolation level read committed";
  return { statements: [begin, ...settingsOf(options)], isOnlyReading: false };
}

function toRead(options: PoolOptions, tables: readonly string[]): Beginning {
  const begin = "begin transaction isolation level repeatable read, read only";
  const names = tables.map((table) => `public.${table}`).join(", ");
  const locks = [
    `set local lock_timeout = ${TABLE_LOCK_TIMEOUT_MS}`,
    `lock table ${names} in access share mode`,
  ];
  return {
    statements: [begin, ...settingsOf(options), ...(tables.length === 0 ? [] : locks)],
    isOnlyReading: true,
  };
}

/** What a session of ours is told when it begins. Where a session's state does not last, each transaction is. */
export function settingsOf({
  settingsPerTransaction,
}: Pick<PoolOptions, "settingsPerTransaction">): readonly string[] {
  if (!settingsPerTransaction) return [];
  return [
    // Hidden rows become an error instead of looking deleted.
    "set local row_security = off",
    "set local synchronous_commit = on",
    `set local statement_timeout = ${STATEMENT_TIMEOUT_MS}`,
    `set local lock_timeout = ${LOCK_TIMEOUT_MS}`,
    `set local idle_in_transaction_session_timeout = ${SILENCE_TIMEOUT_MS}`,
    "set local enable_seqscan = off",
    "set local jit = off",
  ];
}

async function transactOn<T>(
  pool: ConnectionPool,
  { isOwnSession = false }: PoolOptions,
  work: (tx: Transaction) => Promise<T>,
  { statements, isOnlyReading }: Beginning,
  names: StatementNames | null,
): Promise<T> {
  const client = await pool.connect();
  const queries = queriesOn(client, isOwnSession, names);
  const tx = transactionOf(queries);
  const awaitsBeginAndCommit = !isOwnSession || !isOnlyReading;
  try {
    const begun = queries.command(statements.join("; "));
    if (awaitsBeginAndCommit) await begun;
    const [result] = await Promise.all([work(tx), begun]);
    const committed = queries.end("commit");
    if (awaitsBeginAndCommit) await committed;
    void releaseAfter(committed, client);
    return result;
  } catch (failure) {
    const error = queries.causeOf(failure);
    await releaseAfter(isOutage(error) ? Promise.reject(error) : queries.end("rollback"), client);
    throw error;
  }
}

/** A connection whose transaction may not have ended is in an unknown state: it is closed instead of given back. */
async function releaseAfter(ended: Promise<unknown>, client: pg.PoolClient): Promise<void> {
  await ended.then(
    () => client.release(),
    (error: unknown) => client.release(toError(error)),
  );
}

type RunQuery = Queryable["run"];

/** What one transaction asks its connection for, in the order in which it is asked for. */
interface TransactionQueries {
  readonly run: RunQuery;
  /** What begins and divides the transaction. */
  command(sql: string): Promise<unknown>;
  /** What ends it. Nothing that is asked for later is run. */
  end(sql: "commit" | "rollback"): Promise<unknown>;
  /** Of queries that were asked for together the later ones may be the first that the work hears of: they say only that one has failed. */
  causeOf(failure: unknown): unknown;
}

function queriesOn(
  client: pg.PoolClient,
  isOwnSession: boolean,
  names: StatementNames | null,
): TransactionQueries {
  const inOrder = isOwnSession ? atOnce : inTurn();
  let isOver = false;
  let cause: unknown;
  const ask = <T>(query: () => Promise<T>) =>
    inOrder(async () => {
      // A part of the work may go on when another one has failed: outside the transaction, or in another one on this connection.
      if (isOver) throw new Error("the transaction is over");
      if (isOwnSession) writeTogether(client);
      try {
        return await query();
      } catch (error) {
        if (!isAborted(error)) cause = error;
        throw error;
      }
    });
  return {
    run: <Row>(name: string, params?: readonly unknown[]) =>
      ask(() => runOn<Row>(client, name, params, names)),
    command: (sql) => ask(() => client.query(sql)),
    end: (sql) => {
      isOver = true;
      return inOrder(() => client.query(sql));
    },
    causeOf: (failure) => (isAborted(failure) ? (cause ?? failure) : failure),
  };
}

type InOrder = <T>(query: () => Promise<T>) => Promise<T>;

/** For a connection that pipelines. */
const atOnce: InOrder = (query) => query();

/** For a connection that does not pipeline: the driver's own queue of further queries is deprecated. */
function inTurn(): InOrder {
  let last: Promise<unknown> = Promise.resolve();
  return (query) => {
    const next = last.then(query);
    last = next.catch(() => {});
    return next;
  };
}

/**
 * Queries that are asked for in one go leave in one write: each is a system call, dearer than the query's own work in the driver. The socket
 * is private to the driver: where a later version has it elsewhere, each query leaves in a write of its own.
 */
function writeTogether(client: pg.PoolClient): void {
  const { connection } = client as unknown as { connection?: { stream?: Duplex } };
  const stream = connection?.stream;
  stream?.cork();
  queueMicrotask(() => stream?.uncork());
}

function transactionOf({ run, command }: TransactionQueries): Transaction {
  return {
    run,
    async trySavepoint(work) {
      await command("savepoint attempt");
      try {
        const value = await work();
        await command("set constraints all immediate");
        await command("release savepoint attempt");
        return { value };
      } catch (error) {
        if (isOutage(error) || isIdentityCollision(error)) throw error;
        await command("rollback to savepoint attempt");
        return { error };
      }
    },
  };
}

/** Queries on one connection of the caller, in the transaction that it is in. */
export function queryableOn(client: Pick<pg.ClientBase, "query">): Queryable {
  return { run: (name, params) => runOn(client, name, params) };
}

async function runOn<Row>(
  client: Pick<pg.Pool | pg.ClientBase, "query">,
  query: string,
  params: readonly unknown[] = [],
  names: StatementNames | null = null,
): Promise<Row[]> {
  const name = names?.nameOf(query);
  const result = await client.query({
    text: sqlOf(query),
    values: [...params],
    types: TYPES,
    ...(name !== undefined && { name }),
  });
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
