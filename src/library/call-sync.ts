/** One call under its lease: sends the caller's data, and records what the caller's result needs. */
import type { Account } from "../account/account.ts";
import type { Clock } from "../clock.ts";
import type { ApiResult } from "../customer-api/customer-api.ts";
import type { CustomerCommand, SentRows } from "../customer-command/command.ts";
import { fingerprintOf } from "../customer-command/fingerprint.ts";
import type { ReceivedIds } from "../customer-command/match-ids.ts";
import { type TransformOptions, toCommand } from "../customer-command/transform.ts";
import type { Lease } from "../queue/lease.ts";
import type { Taken } from "../queue/queue.ts";
import type { Conclusion } from "../sync/conclusion.ts";
import type { Send } from "../sync/journal.ts";
import type { Outcome } from "../sync/outcome.ts";
import type { SyncCaller } from "../sync/sync-caller.ts";
import { completedBy } from "./complete-account.ts";

/** What a call came to: as far as it got. */
export interface CallResult {
  /** The command, when it was sent. */
  readonly command: CustomerCommand | null;
  /** What the API made of it; null when it was not asked. */
  readonly result: ApiResult | null;
  readonly sent: SentRows | null;
  readonly received: ReceivedIds | null;
  /** Of the send; null when there was none. */
  readonly idempotencyKey: string | null;
  /** null when nothing was settled: the lease was lost, or the database failed (`error`). */
  readonly outcome: Outcome | null;
  readonly error: unknown;
}

export const NOTHING_DONE: CallResult = {
  command: null,
  result: null,
  sent: null,
  received: null,
  idempotencyKey: null,
  outcome: null,
  error: null,
};

export interface CallSyncOptions {
  readonly clock: Pick<Clock, "after">;
  readonly mapping: TransformOptions;
  /** How long, once the API has answered or the lease is lost, the database is waited for. */
  readonly writeWithinMs: number;
  readonly lease: Lease;
  /** The account as the caller handed it in. */
  readonly given: Account;
  readonly taken: Taken;
}

export class CallSync implements SyncCaller {
  readonly #options: CallSyncOptions;
  readonly #givenUp = new AbortController();
  #callOff = () => {};
  #isInFlight = false;
  #fingerprintOfRows: string | null = null;
  /** The caller's own send, and not an earlier one that was finished first. */
  #send: Send | null = null;
  #result: ApiResult | null = null;
  #received: ReceivedIds | null = null;
  /** The outcome is this call's, and not an earlier send's. */
  isConcluded = false;

  constructor(options: CallSyncOptions) {
    this.#options = options;
    options.lease.signal.addEventListener("abort", () => this.#giveUpSoon(), { once: true });
  }

  /** A caller does not wait for a database for ever; what the API gave out is told anyway, and is in the journal if that could be written. */
  get givenUp(): AbortSignal {
    return this.#givenUp.signal;
  }

  toAccount(stored: Account): Account {
    const { mapping, given } = this.#options;
    this.#fingerprintOfRows = fingerprintOf(toCommand(stored, mapping).command);
    return completedBy(stored, given);
  }

  onSend(send: Send, isRepeat: boolean): void {
    this.#isInFlight = true;
    if (!isRepeat) this.#send = send;
  }

  onResult(_send: Send, result: ApiResult): void {
    this.#isInFlight = false;
    if (this.#send !== null) this.#result = result;
    this.#giveUpSoon();
  }

  onReceived(received: ReceivedIds): void {
    if (this.#send !== null) this.#received = received;
  }

  /**
   * The generation that the conclusion ends. A refusal of the caller's data says nothing of the rows, and what was pending is
   * delivered only when the rows say the same: otherwise a new round begins, in which a daemon looks.
   */
  toConclusion(conclusion: Conclusion): Conclusion {
    // Sent whatever was sent before; but the caller has not said that an id that stands may be replaced.
    const claim = { ...conclusion.claim, force: false };
    const { taken } = this.#options;
    const isOwn = conclusion.attempt === null || this.#send !== null;
    this.isConcluded = isOwn || conclusion.kind === "ended";
    if (!isOwn || this.#isAboutTheRows(conclusion)) return { ...conclusion, claim };

    const older = String(BigInt(taken.generation) - 1n);
    return conclusion.kind === "accepted"
      ? { ...conclusion, claim, attempt: { ...conclusion.attempt, generation: older } }
      : { ...conclusion, claim, generation: older };
  }

  result(outcome: Outcome | null, error: unknown): CallResult {
    const body = this.#send?.body ?? "";
    return {
      // A delete has no body.
      command: body === "" ? null : (JSON.parse(body) as CustomerCommand),
      result: this.#result,
      sent: this.#send?.sent ?? null,
      received: this.#received,
      idempotencyKey: this.#send?.idempotencyKey ?? null,
      outcome,
      error,
    };
  }

  close(): void {
    this.#callOff();
  }

  #isAboutTheRows(conclusion: Conclusion): boolean {
    return conclusion.kind === "accepted"
      ? !this.#options.taken.wasPending || this.#send?.fingerprint === this.#fingerprintOfRows
      : conclusion.name === "gone" || conclusion.errorClass === "unknown_outcome";
  }

  #giveUpSoon(): void {
    this.#callOff();
    if (this.#isInFlight) return;
    const { clock, writeWithinMs } = this.#options;
    this.#callOff = clock.after(writeWithinMs, () => this.#givenUp.abort());
  }
}
