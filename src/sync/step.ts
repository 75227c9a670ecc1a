/** One sync under way, and what can be done next with its account. Types, and the small functions that make a step. */
import type { ApiConnection } from "../customer-api/customer-api.ts";
import type { ReceivedIds } from "../customer-command/match-ids.ts";
import type { Lease } from "../queue/lease.ts";
import type { Claim } from "../queue/queue.ts";
import { type Ending, type SettlingAttempt, toEnded } from "./conclusion.ts";
import type { Send } from "./journal.ts";
import type { Outcome } from "./outcome.ts";
import type { SyncCaller, SyncWiring } from "./wiring.ts";

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

/** What to do next: send, or end without sending. */
export type Step = SendStep | LastStep;

/** What is left to do when nothing (more) is sent. */
export type LastStep = WriteBackStep | EndStep | { readonly kind: "lease lost" };

export interface SendStep {
  readonly kind: "send";
  readonly connection: ApiConnection;
  readonly send: Send;
  /** An earlier send, under its own key. */
  readonly isRepeat: boolean;
}

/** The ids of an answer are journaled. */
export interface WriteBackStep {
  readonly kind: "write back";
  readonly attempt: SettlingAttempt;
  readonly received: ReceivedIds;
  readonly httpStatus: number | null;
}

export interface EndStep {
  readonly kind: "end";
  readonly ending: Ending;
}

export const LEASE_LOST = { kind: "lease lost" } as const;

export function end(ending: Ending): EndStep {
  return { kind: "end", ending };
}

/** Settles a sync that ended without ids. Resolves null when the lease was lost. */
export async function settleEnded(
  { wiring, claim, caller, dbSignal, startedAt }: SyncContext,
  { ending }: EndStep,
): Promise<Outcome | null> {
  const ended = toEnded(claim, ending, wiring.clock.now() - startedAt);
  return await wiring.settle(caller.toConclusion?.(ended) ?? ended, dbSignal);
}

/** Writes the ids of an answer back and settles. Resolves null when the lease was lost. */
export async function settleAccepted(
  { wiring, claim, caller, dbSignal }: SyncContext,
  { attempt, received, httpStatus }: WriteBackStep,
): Promise<Outcome | null> {
  const accepted = { kind: "accepted", claim, attempt, received, httpStatus } as const;
  return await wiring.settle(caller.toConclusion?.(accepted) ?? accepted, dbSignal);
}
