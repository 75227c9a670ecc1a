/** The rules that a sync decides by, from the configuration. Types only. */
import type { Language } from "../customer-command/messages.ts";

export interface SyncPolicy {
  /** What to do with a create whose answer never came. */
  readonly unknownOutcome: "park" | "resend" | "lookup";
  /** Under `lookup`: an account that was never sent is looked for before it is created. */
  readonly lookupFirst: boolean;
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
