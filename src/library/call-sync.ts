/** One call under its lease: sends the caller's data, and records what the caller's result needs. */
import type { Account } from "../account/account.ts";
import type { Clock } from "../clock.ts";
import type { ApiResult } from "../customer-api/customer-api.ts";
import type { CustomerCommand, SentRows } from "../customer-command/command.ts";
import { fingerprintOf } from "../customer-command/fingerprint.ts";
import type { ReceivedIds } from "../customer-command/match-ids.ts";
import { type TransformOptions, toCommand } from "../customer-command/transform.ts";
import type { Observe } from "../ops/observe.ts";
import type { Lease } from "../queue/lease.ts";
import type { Taken } from "../queue/queue.ts";
import type { Conclusion, Ended } from "../sync/conclusion.ts";
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
  /**
   * The generation of an account under the caller's lease once all that was captured before is folded into it. null where something was
   * asked for meanwhile, which is then to be done.
   */
  readonly foldNow: (accountId: string) => Promise<string | null>;
  /** The account as it stands in the tables; null when it is gone. */
  readonly readRow: (accountId: string) => Promise<Account | null>;
  readonly observe: Pick<Observe, "info">;
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
    this.#fingerprintOfRows = this.#fingerprintOf(stored);
    return completedBy(stored, this.#options.given);
  }

  /**
   * What was pending is delivered only when the rows say the same. And where the API held what the rows say, a call with other data (older
   * ones, mostly) has taken that away. In both cases a new round begins after this send, in which a daemon sends the rows. An account to
   * which the API never had the rows' data is pushed by calls on purpose.
   */
  generationOf(fingerprint: string): string {
    const { generation, wasPending, fingerprint: acceptedBefore } = this.#options.taken;
    if (fingerprint === this.#fingerprintOfRows) return generation;
    const isOwed = wasPending || acceptedBefore === this.#fingerprintOfRows;
    return isOwed ? olderThan(generation) : generation;
  }

  onSend(send: Send, isRepeat: boolean): void {
    this.#isInFlight = true;
    if (isRepeat) return;
    this.#send = send;
    // Without the customer's name, which the log may not hold.
    this.#options.observe.info("sending to the customer API", {
      account_id: send.claim.accountId,
      config_id: send.configId,
      operation: send.operation,
    });
  }

  onResult(send: Send, result: ApiResult): void {
    this.#isInFlight = false;
    if (this.#send !== null) this.#result = result;
    if (result.kind === "accepted")
      this.#options.observe.info("synced with the customer API", {
        account_id: send.claim.accountId,
        http_status: result.httpStatus,
      });
    this.#giveUpSoon();
  }

  onReceived(received: ReceivedIds): void {
    if (this.#send !== null) this.#received = received;
  }

  /** An account that the API refused is parked, whatever its rows hold: a person or the next change puts it back. */
  async toConclusion(conclusion: Conclusion): Promise<Conclusion> {
    const isOwn = conclusion.attempt === null || this.#send !== null;
    this.isConcluded = isOwn || conclusion.kind === "ended";
    if (!isOwn || conclusion.kind === "accepted") return conclusion;

    // What is asked for in the row was not asked for by this call.
    const generation = await this.#generationOf(conclusion);
    return { ...conclusion, generation, request: "kept" };
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

  async #generationOf({ name, attempt }: Ended): Promise<string> {
    const { generation } = this.#options.taken;
    if (name !== "parked") return generation;
    // Not valid, so nothing was sent: this says nothing of the rows.
    if (attempt === null) return olderThan(generation);
    // It only spares a send.
    return await this.#generationOfSameRows().catch(() => generation);
  }

  /**
   * A change that was captured before the rows were read, and is folded afterwards, would put the parked account back, and a daemon
   * would send what was just refused. While the rows are still the same, the refusal is about all that was captured until now.
   */
  async #generationOfSameRows(): Promise<string> {
    const { taken, foldNow, readRow } = this.#options;
    const folded = await foldNow(taken.accountId);
    if (folded === null || folded === taken.generation) return taken.generation;
    const row = await readRow(taken.accountId);
    const isSame = row !== null && this.#fingerprintOf(row) === this.#fingerprintOfRows;
    return isSame ? folded : taken.generation;
  }

  #fingerprintOf(account: Account): string {
    return fingerprintOf(toCommand(account, this.#options.mapping).command);
  }

  #giveUpSoon(): void {
    this.#callOff();
    if (this.#isInFlight) return;
    const { clock, writeWithinMs } = this.#options;
    this.#callOff = clock.after(writeWithinMs, () => this.#givenUp.abort());
  }
}

function olderThan(generation: string): string {
  return String(BigInt(generation) - 1n);
}
