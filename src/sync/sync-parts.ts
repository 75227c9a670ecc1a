/** What the sync of one account is handed: its parts, and the rules it decides by. Types only. */

import type { Clock } from "../clock.ts";
import type { ApiConnection, CustomerApi } from "../customer-api/customer-api.ts";
import type { Language } from "../customer-command/messages.ts";
import type { TransformOptions } from "../customer-command/transform.ts";
import type { Observe } from "../ops/observe.ts";
import type { Claim } from "../queue/queue.ts";
import type { Adoption, Answered, Attempt, Send } from "./attempt.ts";
import type { Loaded } from "./load-for-sync.ts";
import type { Outcome } from "./outcome.ts";
import type { Pace } from "./pace.ts";
import type { Conclusion } from "./settle.ts";

export interface SyncParts {
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
  /** Waits until it is this send's turn. */
  readonly place: Pace["place"];
  /** Resolves null when the lease was lost: then nothing may be sent. */
  readonly journalSend: (send: Send, leaving: AbortSignal) => Promise<Attempt | null>;
  readonly journalAnswer: (answered: Answered, leaving: AbortSignal) => Promise<void>;
  /** Journals what a lookup found as the answer to the create; not when another account has that id: resolves with that one. */
  readonly adopt: (adoption: Adoption, leaving: AbortSignal) => Promise<{ takenBy: string | null }>;
  /** Renews the lease. Resolves false when it was lost: then nothing may be asked either. */
  readonly isStillOurs: (claim: Claim, leaving: AbortSignal) => Promise<boolean>;
  /** Writes back and settles. Resolves null when the lease was lost. */
  readonly settle: (conclusion: Conclusion, leaving: AbortSignal) => Promise<Outcome | null>;
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
  /** `updated_by` when nobody is named. */
  readonly defaultUserId: string;
  /** Of the messages about a customer's data. */
  readonly language: Language;
  readonly delayAfter: (attempts: number) => number;
  /** What becomes of the customer of an account that was removed. */
  readonly onAccountDelete: "ignore" | "delete";
  /** How long a blocked account sleeps when its parent does not wake it. */
  readonly blockedRecheckMs: number;
}
