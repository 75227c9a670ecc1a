/** Hands what a sync came to over to settling. */
import { toEnded } from "./conclusion.ts";
import type { Outcome } from "./outcome.ts";
import type { EndStep, WriteBackStep } from "./step.ts";
import type { SyncContext } from "./sync-context.ts";

/** Settles a sync that ended without ids. Resolves null when the lease was lost. */
export async function settleEnded(
  { wiring, claim, caller, dbSignal, startedAt }: SyncContext,
  { ending }: EndStep,
): Promise<Outcome | null> {
  const ended = toEnded(claim, ending, wiring.clock.now() - startedAt);
  return await wiring.settle((await caller.toConclusion?.(ended)) ?? ended, dbSignal);
}

/** Writes the ids of an answer back and settles. Resolves null when the lease was lost. */
export async function settleAccepted(
  { wiring, claim, caller, dbSignal }: SyncContext,
  { attempt, received, httpStatus, isJournaled }: WriteBackStep,
): Promise<Outcome | null> {
  const accepted = {
    kind: "accepted",
    claim,
    attempt,
    received,
    httpStatus,
    isJournaled,
  } as const;
  return await wiring.settle((await caller.toConclusion?.(accepted)) ?? accepted, dbSignal);
}
