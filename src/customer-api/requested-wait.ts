/**
 * The wait that the API asks for: with a 429, or with a 503 that has a Retry-After. It asks all clients, not one account, so nothing is
 * sent over this connection until the wait is over, and the other daemons are told.
 */
import type { ApiFailure } from "./customer-api.ts";

export interface RequestedWait {
  /** When the current wait began, or the last one. Monotonic milliseconds, as `untilMs`. */
  readonly sinceMs: number;
  /** In the past when there is no wait. */
  readonly untilMs: number;
  /** Starts the wait that the failure asks for, if it does. Returns the failure, with the whole wait in it. */
  obey(failure: ApiFailure): ApiFailure;
  /** Starts a wait that another daemon was asked for. A longer one that is already under way stays. */
  start(forMs: number): void;
  /** A request was accepted: the waits that we choose ourselves start again with the shortest. */
  reset(): void;
}

export interface RequestedWaitOptions {
  /** Monotonic milliseconds. */
  readonly now: () => number;
  /** The wait that we choose when the API names none, after so many refusals in a row; from 1. */
  readonly backoffMs: (times: number) => number;
  readonly onAsked: (forMs: number) => void;
}

export function createRequestedWait(options: RequestedWaitOptions): RequestedWait {
  const { now } = options;
  let times = 0;
  let sinceMs = 0;
  let untilMs = 0;

  function start(forMs: number): void {
    if (untilMs <= now()) sinceMs = now();
    untilMs = Math.max(untilMs, now() + forMs);
  }

  return {
    get sinceMs() {
      return sinceMs;
    },
    get untilMs() {
      return untilMs;
    },

    obey(failure) {
      if (!asksAll(failure)) return failure;

      times += 1;
      // A Retry-After of 0 would have us ask again without a pause, so it counts as none.
      const forMs = failure.retryAfterMs || options.backoffMs(times);
      start(forMs);
      options.onAsked(forMs);
      return { ...failure, retryAfterMs: Math.ceil(untilMs - now()) };
    },

    start,

    reset() {
      times = 0;
    },
  };
}

function asksAll({ errorClass, httpStatus, retryAfterMs }: ApiFailure): boolean {
  return errorClass === "throttled" || (httpStatus === 503 && retryAfterMs !== null);
}
