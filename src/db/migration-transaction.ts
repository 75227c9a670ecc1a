/**
 * One transaction of migrate or uninstall. It brings its settings and locks along and ends them: what a session keeps would be handed on by
 * a pooler, and a process that dies leaves nothing half-done.
 *
 * Creating a trigger waits for every open transaction that wrote to the table, and while it waits, later writers wait behind it. So it
 * waits for a fifth of a second at most; then all of the transaction is tried again.
 */
import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";
import { OperatorError } from "../operator-error.ts";
import { queryableOn } from "./database.ts";
import { errorCode } from "./error-code.ts";
import { findHolder, type WantedLock } from "./lock-holder.ts";

/** How long a long transaction on a source table, or another migrate, is waited for altogether. */
export const INSTALL_DEADLINE_MS = 300_000;
/** How long one try may wait for a table's lock, and with it every writer behind us. */
const LOCK_TIMEOUT_MS = 200;
/** An autovacuum gives its lock up to a session that has waited for deadlock_timeout, a second by default. */
const YIELD_TIMEOUT_MS = 1_500;
/** "account_" as bytes: one migration or uninstall at a time. */
const ADVISORY_LOCK = "7017561974736057439";

export interface MigrationStep {
  /** As in "could not …". */
  readonly doing: string;
  /** Source tables whose locks may be waited for, beside the tables of schema account_sync. */
  readonly tables: readonly string[];
}

/**
 * Commits when `work` resolves. `work` has to be repeatable.
 *
 * @param info is told which transaction is waited for
 * @throws OperatorError that names the holder of the lock, after the deadline
 */
export async function inMigrationTransaction<T>(
  client: pg.Client,
  info: (message: string) => void,
  { doing, tables }: MigrationStep,
  work: () => Promise<T>,
): Promise<T> {
  const deadline = performance.now() + INSTALL_DEADLINE_MS;
  let lockTimeoutMs = LOCK_TIMEOUT_MS;
  for (let attempt = 1; ; attempt += 1) {
    let wanted: WantedLock = { advisoryLock: ADVISORY_LOCK };
    try {
      await client.query(
        `begin isolation level read committed read write; ${SETTINGS}; set local lock_timeout = ${lockTimeoutMs}`,
      );
      await client.query(`select pg_advisory_xact_lock(${ADVISORY_LOCK})`);
      wanted = { tables };
      const result = await work();
      await client.query("commit");
      return result;
    } catch (error) {
      // A connection that broke cannot roll back, and its first error says more.
      await client.query("rollback").catch(() => {});
      if (!isLocked(error)) throw await blameEventTrigger(client, error);

      const { words, isBackground } = await findHolder(queryableOn(client), wanted);
      if (performance.now() > deadline) throw toLockError(doing, words, error);
      // The second try, since three replicas that start together are in each other's way for a moment; then every ten seconds.
      if (attempt % 20 === 2) info(`Waiting for ${words}, to ${doing}`);
      await sleep(300 + Math.random() * 700);
      lockTimeoutMs = isBackground ? YIELD_TIMEOUT_MS : LOCK_TIMEOUT_MS;
    }
  }
}

/**
 * The role's own limits are meant for the application's statements. A session of ours that falls silent, or whose machine is gone, holds
 * locks that the application waits for: it ends within seconds.
 */
const SETTINGS = Object.entries({
  application_name: "'account-sync migrate'",
  statement_timeout: 0,
  idle_in_transaction_session_timeout: 5_000,
  tcp_keepalives_idle: 5,
  tcp_keepalives_interval: 2,
  tcp_keepalives_count: 2,
  tcp_user_timeout: 10_000,
})
  .map(([name, value]) => `set local ${name} = ${value}`)
  .join("; ");

function isLocked(error: unknown): boolean {
  // 55P03: lock not available, 40P01: deadlock.
  return /^(?:55P03|40P01)$/.test(errorCode(error) ?? "");
}

/** An event trigger of the application's runs inside our DDL, with our search_path and rights. Resolves with the error to throw. */
async function blameEventTrigger(client: pg.Client, error: unknown): Promise<unknown> {
  const where = error instanceof pg.DatabaseError ? (error.where ?? "") : "";
  const { rows } = await client
    .query<{ name: string; procedure: string }>(
      `select quote_ident(t.evtname) as name, p.proname as procedure
       from pg_event_trigger t
       join pg_proc p on p.oid = t.evtfoid
       where t.evtenabled <> 'D'`,
    )
    .catch(() => ({ rows: [] }));
  const failed = rows.find(({ procedure }) => where.includes(`${procedure}(`));
  if (failed === undefined || !(error instanceof Error)) return error;
  return new OperatorError(
    `Event trigger ${failed.name} of this database failed in what account-sync does to its schema: ${error.message}.`,
    {
      hint: `Write the tables in its function ${failed.procedure} with their schemas, or switch it off for the migrate: alter event trigger ${failed.name} disable;`,
      cause: error,
    },
  );
}

function toLockError(doing: string, holder: string, cause: unknown): OperatorError {
  return new OperatorError(
    `Could not ${doing} within ${INSTALL_DEADLINE_MS / 1000} s: ${holder} holds the lock.`,
    {
      hint: "Let it finish, or end it with: select pg_terminate_backend(<pid>); then run `account-sync migrate` again. What was installed so far stays and is harmless.",
      cause,
    },
  );
}
