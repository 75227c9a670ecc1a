/** One sync under way: its wiring, the claim and its lease, and who asked for it. */
import type { Lease } from "../queue/lease.ts";
import type { Claim } from "../queue/queue.ts";
import type { SyncCaller } from "./sync-caller.ts";
import type { SyncWiring } from "./sync-wiring.ts";

export interface SyncContext {
  readonly wiring: SyncWiring;
  readonly claim: Claim;
  readonly lease: Lease;
  readonly caller: SyncCaller;
  /** Ends the waiting for a database that is away: the process leaves, or the caller gives up. */
  readonly dbSignal: AbortSignal;
  /** Monotonic milliseconds. */
  readonly startedAt: number;
}

export function beginSync(
  wiring: SyncWiring,
  claim: Claim,
  lease: Lease,
  caller: SyncCaller,
): SyncContext {
  const { leaving } = lease;
  const dbSignal =
    caller.givenUp === undefined ? leaving : AbortSignal.any([leaving, caller.givenUp]);
  return { wiring, claim, lease, caller, dbSignal, startedAt: wiring.clock.now() };
}
