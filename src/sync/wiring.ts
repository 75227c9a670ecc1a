/** What the sync of one account is handed: its parts, the rules it decides by, and who asked for it. Types only. */
import type { Account } from "../account/account.ts";
import type { Clock } from "../clock.ts";
import type { ApiConnection, ApiResult, CustomerApi } from "../customer-api/customer-api.ts";
import type { ReceivedIds } from "../customer-command/match-ids.ts";
import type { Language } from "../customer-command/messages.ts";
import type { TransformOptions } from "../customer-command/transform.ts";
import type { Observe } from "../ops/observe.ts";
import type { Claim } from "../queue/queue.ts";
import type { Adoption } from "./adopt.ts";
import type { Conclusion } from "./conclusion.ts";
import type { Answered, Attempt, Send } from "./journal.ts";
import type { Loaded } from "./load-for-sync.ts";
import type { Outcome } from "./outcome.ts";
import type { RateLimit } from "./rate-limit.ts";

/** What takes a signal waits for a database that is away until the signal is aborted; then it rejects with the outage. */
export interface SyncWiring {
  readonly clock: Pick<Clock, "now">;
  readonly load: (accountId: string) => Promise<Loaded>;
  readonly findParentCycle: (accountId: string) => Promise<readonly string[] | null>;
  /** Whether the parent that an account waits for gets its external id without a person. */
  readonly findParentState: (parentId: string) => Promise<ParentState>;
  /** Where to send; an error text when the configuration that was asked for cannot be used. */
  readonly connection: (
    configId: string | null,
  ) => Promise<ApiConnection | { readonly error: string }>;
  readonly api: CustomerApi;
  /** The account that has an external id besides this one; null when there is none. */
  readonly ownerOf: (externalId: string, accountId: string) => Promise<string | null>;
  /** Waits until the rate limit lets this send go. */
  readonly waitForTurn: RateLimit["waitForTurn"];
  /** Resolves null when the lease was lost: then nothing may be sent. */
  readonly journalSend: (send: Send, signal: AbortSignal) => Promise<Attempt | null>;
  readonly journalAnswer: (answered: Answered, signal: AbortSignal) => Promise<void>;
  /** Journals what a lookup found as the answer to the create, unless another account has that id: then resolves with that account. */
  readonly adopt: (adoption: Adoption, signal: AbortSignal) => Promise<{ takenBy: string | null }>;
  /** Renews the lease. Resolves false when it was lost: then nothing may be asked either. */
  readonly isStillOurs: (claim: Claim, signal: AbortSignal) => Promise<boolean>;
  /** Writes back and settles. Resolves null when the lease was lost. */
  readonly settle: (conclusion: Conclusion, signal: AbortSignal) => Promise<Outcome | null>;
  readonly observe: Pick<Observe, "unknownOutcome" | "validated">;
  readonly mapping: TransformOptions;
  readonly policy: SyncPolicy;
}

export type ParentState = "on its way" | "parked" | "not asked for" | "missing";

export interface SyncPolicy {
  /** What to do with a create whose answer never came. */
  readonly unknownOutcome: "park" | "resend" | "lookup";
  /** A send that is journaled is written to the network within this, its token included, or not at all. */
  readonly beginWithinMs: number;
  /** How long after its journaling a create may be under way: nothing is sent beside it, and "not there" proves nothing. */
  readonly applyingMaxMs: number;
  /** Tries on errors that may pass; 0 never gives up. */
  readonly maxAttempts: number;
  /** `updated_by` when the request names no user. */
  readonly defaultUserId: string;
  /** Of the messages about a customer's data. */
  readonly language: Language;
  readonly delayAfter: (attempts: number) => number;
  /** What becomes of the customer of an account that was removed. */
  readonly onAccountDelete: "ignore" | "delete";
  /** How long a blocked account sleeps when its parent does not wake it. */
  readonly blockedRecheckMs: number;
}

/** What a caller that waits for one sync brings along and is told. An account that the daemon claims has none. */
export interface SyncCaller {
  /** The account to send, from the one in the tables. */
  toAccount?(stored: Account): Account;
  /** Ends the waiting for a database that is away, for this sync alone. */
  readonly givenUp?: AbortSignal;
  /** A journaled send goes out now. `isRepeat`: it is an earlier one, under its own key. */
  onSend?(send: Send, isRepeat: boolean): void;
  onResult?(send: Send, result: ApiResult): void;
  /** The ids of the answer, before they are journaled. */
  onReceived?(send: Send, received: ReceivedIds): void;
  /** The conclusion to settle, of the one that the sync came to. */
  toConclusion?(conclusion: Conclusion): Conclusion;
}
