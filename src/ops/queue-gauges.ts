/**
 * The gauges of the queue's numbers, which are asked of the database when a scrape comes. One question at a time: while the database hangs,
 * every scrape waits its two seconds for the same question, and no queries pile up.
 */
import type { Gauge } from "prom-client";
import { PENDING_STATES, type PendingState } from "./labels.ts";

export interface QueueStatus {
  readonly byState: Readonly<Record<PendingState, number>>;
  readonly oldestPendingSeconds: number;
  /** How old it was when it was given; nothing says that it was read just now. */
  readonly readMsAgo?: number;
}

interface QueueGauges {
  readonly pendingAccounts: Gauge<"state">;
  readonly oldestPending: Gauge;
  readonly queueStatusAge: Gauge;
}

/** A scrape waits this long for the queue's numbers, then goes out with the last known ones. */
const ANSWER_TIMEOUT_MS = 2_000;
/** Two Prometheus servers and a console asking at once are one question to the database. */
const CACHE_MS = 1_000;
/** A question without an answer for this long (a blackholed socket) is given up, so that a new one can be asked. */
const ABANDON_MS = 30_000;

/** @returns what sets the gauges; to be called before each scrape. It takes two seconds at most, and never fails. */
export function createQueueGauges({
  ask,
  gauges,
  now,
}: {
  readonly ask: () => Promise<QueueStatus>;
  readonly gauges: QueueGauges;
  readonly now: () => number;
}): () => Promise<void> {
  let question: Promise<void> | null = null;
  let askedAt = Number.NEGATIVE_INFINITY;
  let knownAt = now();

  return async function refreshQueueGauges(): Promise<void> {
    if (question !== null && now() - askedAt >= ABANDON_MS) question = null;
    if (question === null && now() - askedAt >= CACHE_MS) question = startQuestion();
    if (question !== null) await doneWithin(question, ANSWER_TIMEOUT_MS);

    gauges.queueStatusAge.set(Math.max(0, now() - knownAt) / 1_000);
  };

  function startQuestion(): Promise<void> {
    askedAt = now();

    const asked = readQueue().finally(() => {
      if (question === asked) question = null;
    });
    return asked;
  }

  /** A failure is no news here: it was reported where the database was asked, and the age of the numbers shows it. */
  async function readQueue(): Promise<void> {
    try {
      const status = await ask();

      for (const state of PENDING_STATES) {
        gauges.pendingAccounts.set({ state }, Number(status.byState[state]));
      }
      gauges.oldestPending.set(Number(status.oldestPendingSeconds));
      knownAt = now() - (status.readMsAgo ?? 0);
    } catch {
      return;
    }
  }
}

function doneWithin(work: Promise<void>, limitMs: number): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, limitMs);

    void work.finally(() => {
      clearTimeout(timer);
      resolve();
    });
  });
}
