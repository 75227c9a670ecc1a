/** Leases as a test wants them: held, until it says otherwise. */
import type { Lease } from "../../src/queue/lease.ts";

export interface TestLease extends Lease {
  lose(): void;
  leave(): void;
}

export function heldLease(): TestLease {
  const lost = new AbortController();
  const leaving = new AbortController();
  const lose = () => lost.abort(new Error("the lease was lost"));
  return {
    signal: lost.signal,
    leaving: leaving.signal,
    isHeld: () => !lost.signal.aborted,
    mayWait: () => true,
    hasTimeFor: () => true,
    waitFor: (work) => work(),
    lose,
    leave() {
      lose();
      leaving.abort(new Error("the process is shutting down"));
    },
  };
}
