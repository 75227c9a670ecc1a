/**
 * What all replicas together keep to, before each send: the waits that an API asked for (Retry-After is said to one of us and meant for
 * all), and `CUSTOMER_API_MAX_RPS`, for which the places lie evenly apart.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { batched } from "../db/batched.ts";
import type { Queryable } from "../db/database.ts";

export interface Pace {
  /** Waits for the place of one send to this API. */
  place(baseUrl: string, signal: AbortSignal): Promise<Place>;
  /** This API asked to be left alone: tells the other replicas. */
  hold(baseUrl: string, forMs: number): Promise<void>;
}

/** `now`: send. `held`: the API asked not to be sent to for so long. `stopped`: the signal was aborted before the turn came. */
export type Place =
  | { readonly kind: "now" }
  | { readonly kind: "held"; readonly forMs: number }
  | { readonly kind: "stopped" };

/** One statement serves at most so many sends: what one process has in flight. */
const BATCH_MAX = 64;

/** @param maxRps requests per second over all APIs and replicas; 0 for no limit */
export function createPace(db: Queryable, maxRps: number): Pace {
  const heldForMs = batched<string, number>(BATCH_MAX, async (baseUrls) => {
    const rows = await db.run<{ baseUrl: string; heldForMs: number }>("held_apis", [
      [...new Set(baseUrls)],
    ]);
    const held = new Map(rows.map((row) => [row.baseUrl, row.heldForMs]));
    return baseUrls.map((baseUrl) => held.get(baseUrl) ?? 0);
  });
  const waitMs = batched<"send", number>(BATCH_MAX, async (sends) => {
    const [reserved] = await db.run<{ waitMs: number }>("reserve_sends", [sends.length, maxRps]);
    const firstMs = reserved?.waitMs ?? 0;
    return sends.map((_, position) => firstMs + (position * 1_000) / maxRps);
  });

  return {
    async place(baseUrl, signal) {
      if (maxRps > 0) {
        const mineInMs = await waitMs("send");
        if (mineInMs > 0) await sleep(mineInMs, undefined, { signal }).catch(() => {});
      }
      // After the waiting: somebody may have been asked to stop meanwhile.
      const forMs = await heldForMs(baseUrl);
      if (forMs > 0) return { kind: "held", forMs };
      return signal.aborted ? { kind: "stopped" } : { kind: "now" };
    },

    async hold(baseUrl, forMs) {
      await db.run("hold_api", [baseUrl, Math.ceil(forMs)]);
    },
  };
}
