/** Runs work again while the database is away, or other transactions are in its way. */
import { reconnectMs } from "../backoff.ts";
import { type Clock, sleep } from "../clock.ts";
import { isContention, isOutage } from "./error-code.ts";

export interface AwayRetry {
  readonly clock: Clock;
  /** Ends the waiting: the outage's error is then thrown. */
  readonly signal: AbortSignal;
  readonly onTrouble: (error: unknown) => void;
  /** Errors that are worth another try. Default: outages and contention. */
  readonly mayPass?: (error: unknown) => boolean;
}

const WAIT = { minMs: 100, maxMs: 2_000 };

/**
 * Runs `work` until it succeeds, fails with another error, or `signal` is aborted. For what must not be lost because the database is away.
 * `work` has to be repeatable, since a commit whose answer was lost may have happened.
 */
export async function retryWhileAway<T>(
  {
    clock,
    signal,
    onTrouble,
    mayPass = (error) => isOutage(error) || isContention(error),
  }: AwayRetry,
  work: () => Promise<T>,
): Promise<T> {
  for (let failures = 0; ; failures += 1) {
    try {
      return await work();
    } catch (error) {
      if (!mayPass(error) || signal.aborted) throw error;
      onTrouble(error);
      await sleep(
        clock,
        reconnectMs(failures, WAIT, () => clock.random()),
        signal,
      );
    }
  }
}
