/** What can be done next with an account under sync. Types, and the functions that make a step. */
import type { ApiConnection } from "../customer-api/customer-api.ts";
import type { ReceivedIds } from "../customer-command/match-ids.ts";
import type { Ending, SettlingAttempt } from "./conclusion.ts";
import type { Send } from "./journal.ts";

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

/** The API has answered with ids. */
export interface WriteBackStep {
  readonly kind: "write back";
  /** False: until they are, only this process knows them. */
  readonly isJournaled: boolean;
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
