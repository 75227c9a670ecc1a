/**
 * The gauges of the queue, whose numbers are read from the database at a scrape. One read at a time: while the database hangs, every scrape
 * waits its two seconds for the same read, and no queries pile up.
 */
import type { Gauge } from "prom-client";
import { PENDING_STATES, type PendingState } from "./labels.ts";

export interface QueueStatus {
  readonly byState: Readonly<Record<PendingState, number>>;
  readonly oldestPendingSeconds: number;
  /** The age of the numbers when they were returned, as they may come from a cache. */
  readonly readMsAgo?: number;
}

interface QueueGauges {
  readonly pendingAccounts: Gauge<"state">;
  readonly oldestPending: Gauge;
  readonly queueStatusAge: Gauge;
}

/** A scrape waits this long for the queue's numbers, then goes out with the last known ones. */
const ANSWER_TIMEOUT_MS = 2_000;
/** Two Prometheus servers and a console at the same time are one read. */
const CACHE_MS = 1_000;
/** A read without an answer for this long (a blackholed socket) is given up, so that a new one can begin. */
const ABANDON_MS = 30_000;

/** @returns what sets the gauges; to be called before each scrape. It takes two seconds at most, and never fails. */
export function createQueueGauges({
  read,
  gauges,
  now,
}: {
  readonly read: () => Promise<QueueStatus>;
  readonly gauges: QueueGauges;
  readonly now: () => number;
}): () => Promise<void> {
  let reading: Promise<void> | null = null;
  let startedAt = Number.NEGATIVE_INFINITY;
  /** Until they have been read once, the gauges stand at 0 and mean nothing: their age is infinite. */
  let knownAt = Number.NEGATIVE_INFINITY;

  return async function refreshQueueGauges(): Promise<void> {
    if (reading !== null && now() - startedAt >= ABANDON_MS) reading = null;
    if (reading === null && now() - startedAt >= CACHE_MS) reading = startRead();
    if (reading !== null) await doneWithin(reading, ANSWER_TIMEOUT_MS);

    gauges.queueStatusAge.set(Math.max(0, now() - knownAt) / 1_000);
  };

  function startRead(): Promise<void> {
    startedAt = now();

    const started = readQueue().finally(() => {
      if (reading === started) reading = null;
    });
    return started;
  }

  /** A failure is reported where the database is read, and the age of the numbers shows it, so it is ignored here. */
  async function readQueue(): Promise<void> {
    try {
      const status = await read();

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
