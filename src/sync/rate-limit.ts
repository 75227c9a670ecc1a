/**
 * What all replicas together keep to: the waits that an API asked for (it says Retry-After to one replica and means all of them), and
 * `CUSTOMER_API_MAX_RPS`, whose turns lie evenly apart.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { batched } from "../db/batched.ts";
import type { Queryable } from "../db/database.ts";

export interface RateLimit {
  /** Waits until one request may go. Resolves false when the signal was aborted before that. */
  waitForTurn(signal: AbortSignal): Promise<boolean>;
  /** How long this API is not to be asked anything, by its own word to any replica; 0 for not at all. Of a send the journal says so. */
  askedWaitMs(baseUrl: string): Promise<number>;
  /** This API asked for a pause: tells the other replicas. */
  shareWait(baseUrl: string, forMs: number): Promise<void>;
}

/** One statement serves at most so many requests. */
const BATCH_MAX = 64;

/** @param maxRps requests per second over all APIs and replicas; 0 for no limit */
export function createRateLimit(db: Queryable, maxRps: number): RateLimit {
  const turnInMs = batched<"request", number>(BATCH_MAX, async (requests) => {
    const [reserved] = await db.run<{ waitMs: number }>("reserve_sends", [requests.length, maxRps]);
    const firstMs = reserved?.waitMs ?? 0;
    return requests.map((_, position) => firstMs + (position * 1_000) / maxRps);
  });

  return {
    async waitForTurn(signal) {
      if (maxRps > 0) {
        const mineInMs = await turnInMs("request");
        if (mineInMs > 0) await sleep(mineInMs, undefined, { signal }).catch(() => {});
      }
      return !signal.aborted;
    },

    async askedWaitMs(baseUrl) {
      const [asked] = await db.run<{ waitMs: number }>("asked_wait", [baseUrl]);
      return asked?.waitMs ?? 0;
    },

    async shareWait(baseUrl, forMs) {
      await db.run("share_wait", [baseUrl, Math.ceil(forMs)]);
    },
  };
}
