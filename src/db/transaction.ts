/** Transactions that always end, on a connection that pipelines where it is our own. */
import type { Duplex } from "node:stream";
import type pg from "pg";
import { isAborted, isOutage } from "./error-code.ts";
import { isIdentityCollision } from "./identities.ts";
import { settingsOf } from "./own-settings.ts";
import type { StatementNames } from "./prepared-statements.ts";
import { type Queryable, runOn } from "./statement.ts";
import { toError } from "./to-error.ts";

/** What is used of a pool: the simulation has its own, and the library is given one. */
export type ConnectionPool = Pick<pg.Pool, "query" | "connect">;

/** What the sessions of a pool are like. */
export interface PoolSessions {
  readonly settingsPerTransaction: boolean;
  /**
   * The sessions behind the pool are ours alone, and pipelining is on: statements are prepared once for each, and several go out without
   * waiting for each other's answers. Default false.
   */
  readonly isOwnSession?: boolean;
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

/**
 * For a table that is being altered, which a snapshot waits for with other tables locked: shorter than the second after which the server
 * looks for deadlocks, so that the application is never the one that it ends; and what waits behind us waits no longer either.
 */
const TABLE_LOCK_TIMEOUT_MS = 200;

/** How a transaction begins. */
export interface Beginning {
  /** Statements that take no snapshot. */
  readonly statements: readonly string[];
  /** What only reads waits neither for its begin nor for its commit: where the first fails, what was read is dropped. */
  readonly isOnlyReading: boolean;
}

export function toWrite(options: PoolSessions): Beginning {
  const begin = "begin transaction isolation level read committed";
  return { statements: [begin, ...settingsOf(options)], isOnlyReading: false };
}

export function toRead(options: PoolSessions, tables: readonly string[]): Beginning {
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

export async function transactOn<T>(
  pool: ConnectionPool,
  { isOwnSession = false }: PoolSessions,
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
