/**
 * The settings of our sessions, in the two ways in which they are given: to a session when it begins, and to each transaction where a session's
 * state does not last.
 *
 * Timeouts: `statement_timeout` cancels on the server, `query_timeout` makes the driver give up a socket without an answer; the first is the
 * shorter one, or a statement would go on after we stopped listening.
 */
import type pg from "pg";
import { parseConnectionUrl } from "./connection-url.ts";

export interface SessionSettings {
  readonly url: string;
  readonly applicationName: string;
  /** `off` may be used for what a crash only repeats (folds, claims); never for ids and the journal. */
  readonly synchronousCommit: "on" | "off";
  /**
   * Whether settings are given to each transaction instead of the session: behind a pooler (pooling.ts) startup options are refused, and
   * a session's state does not last.
   */
  readonly settingsPerTransaction: boolean;
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

export function connectionOptions(options: SessionSettings): pg.ClientConfig {
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

/** The same for one transaction, as statements that take no snapshot; none where the session has them. */
export function settingsOf({
  settingsPerTransaction,
}: Pick<SessionSettings, "settingsPerTransaction">): readonly string[] {
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
