/**
 * What all replicas together keep to, before each send: the waits that an API asked for (it says Retry-After to one replica and means all
 * of them), and `CUSTOMER_API_MAX_RPS`, whose turns lie evenly apart.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { batched } from "../db/batched.ts";
import type { Queryable } from "../db/database.ts";

export interface RateLimit {
  /** Waits until one send to this API may go. */
  waitForTurn(baseUrl: string, signal: AbortSignal): Promise<Turn>;
  /** This API asked for a pause: tells the other replicas. */
  shareWait(baseUrl: string, forMs: number): Promise<void>;
}

/** `now`: send. `asked to wait`: the API asked not to be sent to for so long. `stopped`: the signal was aborted before the turn came. */
export type Turn =
  | { readonly kind: "now" }
  | { readonly kind: "asked to wait"; readonly forMs: number }
  | { readonly kind: "stopped" };

/** One statement serves at most so many sends: what one process has in flight. */
const BATCH_MAX = 64;

/** @param maxRps requests per second over all APIs and replicas; 0 for no limit */
export function createRateLimit(db: Queryable, maxRps: number): RateLimit {
  const askedWaitMs = batched<string, number>(BATCH_MAX, async (baseUrls) => {
    const rows = await db.run<{ baseUrl: string; waitMs: number }>("asked_waits", [
      [...new Set(baseUrls)],
    ]);
    const asked = new Map(rows.map((row) => [row.baseUrl, row.waitMs]));
    return baseUrls.map((baseUrl) => asked.get(baseUrl) ?? 0);
  });
  const turnInMs = batched<"send", number>(BATCH_MAX, async (sends) => {
    const [reserved] = await db.run<{ waitMs: number }>("reserve_sends", [sends.length, maxRps]);
    const firstMs = reserved?.waitMs ?? 0;
    return sends.map((_, position) => firstMs + (position * 1_000) / maxRps);
  });

  return {
    async waitForTurn(baseUrl, signal) {
      if (maxRps > 0) {
        const mineInMs = await turnInMs("send");
        if (mineInMs > 0) await sleep(mineInMs, undefined, { signal }).catch(() => {});
      }
      // After the waiting: an API may have asked for a pause meanwhile.
      const forMs = await askedWaitMs(baseUrl);
      if (forMs > 0) return { kind: "asked to wait", forMs };
      return signal.aborted ? { kind: "stopped" } : { kind: "now" };
    },

    async shareWait(baseUrl, forMs) {
      await db.run("share_wait", [baseUrl, Math.ceil(forMs)]);
    },
  };
}
