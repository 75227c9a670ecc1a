/** What a sync came to, before anything of it is written. Types, and the one constructor of a conclusion without ids. */
import type { SentRows } from "../customer-command/command.ts";
import type { ReceivedIds } from "../customer-command/match-ids.ts";
import type { Claim, RequestBecomes } from "../queue/queue.ts";
import type { ErrorClass, FailedRows, Operation, OutcomeName } from "./outcome.ts";

export type Conclusion = Accepted | Ended;

/** The API took the command; the ids it gave out wait to be written back. */
export interface Accepted {
  readonly kind: "accepted";
  readonly claim: Claim;
  readonly attempt: SettlingAttempt;
  readonly received: ReceivedIds;
  /** Whether the ids are in the journal; settling writes them there, too, where they are not. */
  readonly isJournaled: boolean;
  /** null when the answer was journaled before this claim. */
  readonly httpStatus: number | null;
}

/** Nothing to write back. */
export interface Ended {
  readonly kind: "ended";
  readonly claim: Claim;
  /** The generation this speaks for: the claim's, or an older one when an earlier send failed once more. */
  readonly generation: string;
  /** The journaled send that ended like this; null when nothing was sent. */
  readonly attempt: SettlingAttempt | null;
  /** An unsettled attempt that has become pointless. */
  readonly supersedes: string | null;
  readonly name: Exclude<OutcomeName, "synced" | "partial">;
  readonly errorClass: ErrorClass | null;
  readonly error: string | null;
  readonly httpStatus: number | null;
  readonly failed: readonly FailedRows[];
  /** Number of validation warnings; those of a journaled send are in the journal already. */
  readonly warnings: number;
  readonly delivery: "not_sent" | "not_applied" | "unknown" | null;
  /** False keeps key and body for the next try. */
  readonly settlesAttempt: boolean;
  readonly delayMs: number;
  readonly countsAsAttempt: boolean;
  /** What is counted as failing alike; null for what says nothing about the account. */
  readonly failureKind: string | null;
  /** A create has come to an end: the next one is another, with a key of its own. */
  readonly endsCreate: boolean;
  /** The customer is gone at the API, and with it the ids of the account and its rows. */
  readonly forgetsIds: boolean;
  readonly blockedBy: string | null;
  /** Resolves itself in normal operation. */
  readonly isExpected: boolean;
  readonly request: RequestBecomes;
  /** Recorded where nothing was sent; a journaled send has its own times. */
  readonly durationMs: number;
}

/** What settling needs to know of a journaled send. */
export interface SettlingAttempt {
  readonly attemptId: string;
  readonly generation: string;
  readonly operation: Operation;
  readonly userId: string;
  /** The API configuration that it went to; null for the one of the environment. */
  readonly configId: string | null;
  readonly sent: SentRows;
  readonly fingerprint: string;
  /** The API may hold other data under this key: an update follows. */
  readonly keyHadOtherData: boolean;
}

/** How a sync ends without ids: the name, and what differs from `DEFAULTS`. */
export type Ending = Pick<Ended, "name"> & Partial<Omit<Ended, "kind" | "claim" | "durationMs">>;

const DEFAULTS = {
  attempt: null,
  supersedes: null,
  errorClass: null,
  error: null,
  httpStatus: null,
  failed: [],
  warnings: 0,
  delivery: null,
  settlesAttempt: true,
  delayMs: 0,
  countsAsAttempt: true,
  failureKind: null,
  endsCreate: false,
  forgetsIds: false,
  blockedBy: null,
  isExpected: false,
  request: "kept",
} satisfies Omit<Ended, "kind" | "claim" | "generation" | "name" | "durationMs">;

export function toEnded(claim: Claim, ending: Ending, durationMs: number): Ended {
  return { ...DEFAULTS, generation: claim.generation, ...ending, kind: "ended", claim, durationMs };
}
