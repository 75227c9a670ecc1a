/** Keeps all replicas together below `CUSTOMER_API_MAX_RPS`: each send waits for its place, and the places lie evenly apart. */
import { setTimeout as sleep } from "node:timers/promises";
import type { Queryable } from "../db/database.ts";
import { batched } from "./batched.ts";

/** Resolves true when the send may go out, false when `signal` was aborted before. */
export type Pace = (signal: AbortSignal) => Promise<boolean>;

/** A reservation serves at most so many sends: what one process has in flight. */
const RESERVE_MAX = 64;

/** @param maxRps requests per second; 0 for no limit */
export function createPace(db: Queryable, maxRps: number): Pace {
  if (maxRps === 0) return async (signal) => !signal.aborted;

  const place = batched<"send", number>(RESERVE_MAX, async (sends) => {
    const [reserved] = await db.run<{ waitMs: number }>("reserve_sends", [sends.length, maxRps]);
    const firstMs = reserved?.waitMs ?? 0;
    return sends.map((_, position) => firstMs + (position * 1_000) / maxRps);
  });
  return async (signal) => {
    const waitMs = await place("send");
    if (waitMs > 0) await sleep(waitMs, undefined, { signal }).catch(() => {});
    return !signal.aborted;
  };
}
