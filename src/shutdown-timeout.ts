/** How long SIGTERM waits, by what is in flight. Pure. */
import type { Config } from "./config.ts";

type TimeoutSettings = {
  readonly api: Pick<Config["api"], "timeoutMs" | "unknownOutcome">;
  readonly sync: Pick<Config["sync"], "shutdownTimeoutMs">;
};

/** A request, an update above all, that is broken off is sent again by the next daemon. */
const SHUTDOWN_TIMEOUT_MS = 20_000;
/** What journaling an answer and writing its ids may take. */
const SETTLING_MS = 5_000;

/**
 * A create whose answer is not waited for is in doubt, and with `park` it waits for a person. So with `park`, creates that are on the wire
 * are waited for as long as a request may take, unless SYNC_SHUTDOWN_TIMEOUT_MS says otherwise.
 */
export function shutdownTimeouts({ api, sync }: TimeoutSettings): {
  readonly timeoutMs: number;
  readonly createsMs: number;
} {
  const timeoutMs = sync.shutdownTimeoutMs ?? SHUTDOWN_TIMEOUT_MS;
  if (sync.shutdownTimeoutMs !== null || !isParking(api))
    return { timeoutMs, createsMs: timeoutMs };
  return { timeoutMs, createsMs: Math.max(timeoutMs, api.timeoutMs + SETTLING_MS) };
}

/** A sentence about a setting that leaves creates to a person at every restart; null where there is none. */
export function findShortShutdown({ api, sync }: TimeoutSettings): string | null {
  const { shutdownTimeoutMs } = sync;
  if (!isParking(api) || shutdownTimeoutMs === null || shutdownTimeoutMs >= api.timeoutMs)
    return null;
  return `SYNC_SHUTDOWN_TIMEOUT_MS (${shutdownTimeoutMs}) is shorter than CUSTOMER_API_TIMEOUT_MS (${api.timeoutMs}): a create that a restart breaks off is parked for a person. Leave it unset, and give the process a grace of ${Math.ceil((api.timeoutMs + SETTLING_MS) / 1_000) + GRACE_BEYOND_S} s.`;
}

/** Between the end of the drain and that of the process (src/daemon.ts). */
const GRACE_BEYOND_S = 7;

function isParking({ unknownOutcome }: TimeoutSettings["api"]): boolean {
  return (unknownOutcome ?? "park") === "park";
}
