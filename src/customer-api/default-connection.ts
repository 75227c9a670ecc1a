/**
 * Whether the connection that is used by default can be used. It is every account's: while it cannot be, only one account at a time is
 * claimed, to try whether it can be again.
 */
import { isStateUnknown, type Obstacle } from "../obstacle.ts";
import type { ApiConnection, UnusableConnection } from "./customer-api.ts";

export interface DefaultConnection {
  /** What the default was found to be. */
  note(found: ApiConnection | UnusableConnection): void;
  /** Milliseconds until it makes sense to claim; 0 for now. */
  available(): number;
  /** How many claims make sense now: 1 while it cannot be used, Infinity otherwise. */
  usefulSends(): number;
  /** null when it can be used, or was not tried lately. */
  findObstacle(): Obstacle | null;
  /** The last one that could be used; null when none could. */
  last(): ApiConnection | null;
}

/** @param onUsable called once when it cannot be used any more, with the reason, and once when it can again, with null */
export function createDefaultConnection(
  tryEveryMs: number,
  onUsable: (error: string | null) => void,
): DefaultConnection {
  let last: ApiConnection | null = null;
  let unusable: {
    readonly error: string;
    readonly sinceMs: number;
    readonly untilMs: number;
  } | null = null;

  return {
    note(found) {
      const before = unusable?.error ?? null;
      const error = "error" in found ? found.error : null;
      const now = performance.now();
      unusable =
        error === null
          ? null
          : { error, sinceMs: unusable?.sinceMs ?? now, untilMs: now + tryEveryMs };
      if (error !== before) onUsable(error);
      if (!("error" in found)) last = found;
    },

    available: () => Math.max(0, (unusable?.untilMs ?? 0) - performance.now()),

    usefulSends: () => (unusable === null ? Number.POSITIVE_INFINITY : 1),

    findObstacle() {
      if (unusable === null || isStateUnknown(unusable.untilMs, performance.now())) return null;
      const { error, sinceMs, untilMs } = unusable;
      return { by: "configuration", reason: error, sinceMs, untilMs };
    },

    last: () => last,
  };
}
