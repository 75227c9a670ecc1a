/** The caller of one sync, where it waits for the result. Types only. */
import type { Account } from "../account/account.ts";
import type { ApiResult } from "../customer-api/customer-api.ts";
import type { ReceivedIds } from "../customer-command/match-ids.ts";
import type { Conclusion } from "./conclusion.ts";
import type { Send } from "./journal.ts";

/** What a caller that waits for one sync brings along and is told. An account that the daemon claims has none. */
export interface SyncCaller {
  /** The account to send, from the one in the tables. */
  toAccount?(stored: Account): Account;
  /** The generation that a command of this fingerprint speaks for: an older one than the claim's where the rows hold other data. */
  generationOf?(fingerprint: string): string;
  /** Ends the waiting for a database that is away, for this sync alone. */
  readonly givenUp?: AbortSignal;
  /** A journaled send goes out now. `isRepeat`: it is an earlier one, under its own key. */
  onSend?(send: Send, isRepeat: boolean): void;
  onResult?(send: Send, result: ApiResult): void;
  /** The ids of the answer, before they are journaled. */
  onReceived?(received: ReceivedIds): void;
  /** The conclusion to settle, of the one that the sync came to. */
  toConclusion?(conclusion: Conclusion): Promise<Conclusion>;
}
