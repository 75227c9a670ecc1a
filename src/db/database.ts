/**
 * Connections to PostgreSQL: a pool that survives killed backends and blackholes, and transactions that always end.
 *
 * Knows nothing of accounts.
 */
import pg from "pg";
import { isIdentityCollision, type RepairedIdentity, repairIdentities } from "./identities.ts";
import { connectionOptions, type SessionSettings } from "./own-settings.ts";
import { repeatIfStale, StatementNames } from "./prepared-statements.ts";
import { type Queryable, runOn } from "./statement.ts";
import {
  type Beginning,
  type ConnectionPool,
  type PoolSessions,
  type Transaction,
  toRead,
  toWrite,
  transactOn,
} from "./transaction.ts";

export { type Queryable, queryableOn } from "./statement.ts";
export type { ConnectionPool, Transaction } from "./transaction.ts";

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

export interface DatabaseOptions extends SessionSettings {
  readonly max: number;
  /** So many stay open however long nothing happens; the others are closed after a minute. Default 0. */
  readonly kept?: number;
  /** A connection broke while it was idle. */
  readonly onError: (error: Error) => void;
  /** A sequence of ours was behind its table: an id was about to be given out twice. */
  readonly onRepaired?: ((repaired: RepairedIdentity) => void) | undefined;
}

export function createDatabase(options: DatabaseOptions): Database {
  // Behind a pooler a prepared statement may be looked for in another session than the one that has it.
  const isOwnSession = !options.settingsPerTransaction;
  const pool = new pg.Pool({
    ...connectionOptions(options),
    pipeline: isOwnSession,
    max: options.max,
    min: Math.min(options.kept ?? 0, options.max),
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

export type PoolOptions = PoolSessions & Pick<DatabaseOptions, "onRepaired">;

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
