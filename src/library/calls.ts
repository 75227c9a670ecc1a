/**
 * Syncs by call: brings what a caller hands in to the API, through the pipeline of the daemon, beside daemons and other callers.
 *
 *     waiting ──taken, as soon as nobody has the account──▶ running ──▶ ended
 *        └────────nobody let go of it in time────────────────────────────▲
 *
 * The lease is the one that daemons take, the send is journaled and fenced like theirs, and whether it is a create or an update is
 * decided by the row as it stands under the lease. A send of before that is not finished goes first; then the account is taken once more.
 * What was pending is not this call's to end: a daemon looks at the rows afterwards, and finds them sent, or sends them.
 */

import type { Account } from "../account/account.ts";
import type { ApiResult } from "../customer-api/customer-api.ts";
import type { CustomerCommand, SentRows } from "../customer-command/command.ts";
import { fingerprintOf } from "../customer-command/fingerprint.ts";
import type { ReceivedIds } from "../customer-command/match-ids.ts";
import { toCommand } from "../customer-command/transform.ts";
import type { Observe } from "../ops/observe.ts";
import type { Parts } from "../parts.ts";
import { Dispatcher } from "../queue/dispatcher.ts";
import type { Lease } from "../queue/lease.ts";
import type { Claim, Queue, Taken } from "../queue/queue.ts";
import type { Send } from "../sync/attempt.ts";
import type { Outcome } from "../sync/outcome.ts";
import type { Conclusion } from "../sync/settle.ts";
import type { SyncParts } from "../sync/sync-parts.ts";
import { completedBy } from "./account-data.ts";

export interface Call {
  readonly account: Account;
  readonly userId: string | null;
  readonly configId: string | null;
}

/** What a call came to: as far as it got. */
export interface Ended {
  /** The command, when it was about to be sent. */
  readonly command: CustomerCommand | null;
  /** What the API made of it; null when it was not asked. */
  readonly result: ApiResult | null;
  readonly sent: SentRows | null;
  readonly received: ReceivedIds | null;
  /** null when nothing was settled: the lease was lost, or the database failed (`error`). */
  readonly outcome: Outcome | null;
  readonly error: unknown;
}

export interface CallsOptions {
  readonly parts: Parts;
  readonly observe: Observe;
  /** Calls that are worked on at the same time. */
  readonly concurrency: number;
  /** How long a call waits for an account that somebody else has. */
  readonly waitMs: number;
  /** How long, once the API has answered, the database is waited for. */
  readonly writeWithinMs: number;
}

export const BUSY = "somebody else had the account for all the time that was waited";
/** How often accounts are asked for that somebody else has. */
const LOOK_EVERY_MS = 50;
/** Accounts that are asked for in one statement. */
const ASKED_AT_ONCE = 1_000;
/** Sends of before that a call finishes before its own: each was the account's only one, so there is hardly ever more than one. */
const FIRST_AT_MOST = 5;
/** What is under way when the library is closed may take so long. */
const CLOSE_WITHIN_MS = 10_000;

interface Waiting {
  readonly call: Call;
  /** When it is given up; null while it is not known that somebody else has the account. */
  until: number | null;
  readonly end: (ended: Ended) => void;
  finishedFirst: number;
}

interface Running extends Waiting {
  readonly taken: Taken;
}

export class Calls {
  readonly #options: CallsOptions;
  /** By account, in the order they came. */
  readonly #waiting = new Map<string, Waiting[]>();
  readonly #running = new Map<string, Running>();
  #dispatcher: Dispatcher | null = null;
  #isClosed = false;

  constructor(options: CallsOptions) {
    this.#options = options;
  }

  /** Never rejects. */
  async sync(call: Call): Promise<Ended> {
    if (this.#isClosed) return { ...NOTHING, error: new Error("account-sync was closed") };

    const { promise, resolve } = Promise.withResolvers<Ended>();
    this.#wait({ call, until: null, end: resolve, finishedFirst: 0 });
    return await promise;
  }

  /** Finishes what is under way; calls that still wait are given up. */
  async close(): Promise<void> {
    this.#isClosed = true;
    for (const waiting of [...this.#waiting.values()].flat())
      waiting.end({ ...NOTHING, error: new Error("account-sync was closed") });
    this.#waiting.clear();
    await this.#dispatcher?.stop(CLOSE_WITHIN_MS);
  }

  #wait(waiting: Waiting): void {
    const { id } = waiting.call.account;
    this.#waiting.set(id, [...(this.#waiting.get(id) ?? []), waiting]);
    if (this.#dispatcher === null) {
      this.#dispatcher = this.#createDispatcher();
      this.#dispatcher.start();
    }
    this.#dispatcher.wake();
  }

  /** One that sees accounts of calls only. It lives while there are calls, so that nothing keeps a process that has none. */
  #createDispatcher(): Dispatcher {
    const { parts, observe, concurrency } = this.#options;
    const queue: Queue = {
      ...parts.queue,
      fold: async () => ({ changes: 0, accounts: 0, markers: 0 }),
      expand: async () => false,
      claim: (limit) => this.#take(limit),
      nextDueInMs: async () => (this.#waiting.size === 0 ? null : LOOK_EVERY_MS),
    };
    return new Dispatcher({
      clock: parts.clock,
      queue,
      run: (claim, lease) => this.#run(claim, lease),
      doorbell: { afterLook: async () => Number.POSITIVE_INFINITY },
      ring: async () => {},
      // Whoever calls is told that the API is not to be sent to, instead of waiting for better times.
      availableInMs: () => 0,
      slots: () => Number.POSITIVE_INFINITY,
      observe,
      concurrency,
      sweepIntervalMs: LOOK_EVERY_MS,
    });
  }

  async #take(limit: number): Promise<Claim[]> {
    this.#giveUpLate();
    const ids = [...this.#waiting.keys()].slice(0, ASKED_AT_ONCE);
    if (ids.length === 0) {
      this.#restWhenDone({ runningBesides: 0 });
      return [];
    }
    // While the database is in trouble, nobody's turn comes.
    if (this.#dispatcher?.trouble != null) this.#startWaiting([...this.#waiting.keys()]);
    const taken = await this.#options.parts.queue.take(ids, limit);
    for (const own of taken) {
      const [first, ...others] = this.#waiting.get(own.accountId) ?? [];
      this.#waiting.delete(own.accountId);
      if (others.length > 0) this.#waiting.set(own.accountId, others);
      if (first !== undefined) this.#running.set(own.accountId, { ...first, taken: own });
    }
    if (taken.length < limit) this.#startWaiting(ids);
    return taken.flatMap((own) => {
      const running = this.#running.get(own.accountId);
      return running === undefined ? [] : [toClaim(own, running.call)];
    });
  }

  /** Somebody else has these accounts: that is waiting. To stand behind other calls is not. */
  #startWaiting(ids: readonly string[]): void {
    const { parts, waitMs } = this.#options;
    const until = parts.clock.now() + waitMs;
    for (const waiting of ids.flatMap((id) => this.#waiting.get(id) ?? [])) waiting.until ??= until;
  }

  #giveUpLate(): void {
    const now = this.#options.parts.clock.now();
    const isLate = ({ until }: Waiting) => until !== null && until <= now;
    for (const [id, line] of this.#waiting) {
      const late = line.filter(isLate);
      if (late.length === 0) continue;
      const others = line.filter((waiting) => !isLate(waiting));
      if (others.length === 0) this.#waiting.delete(id);
      else this.#waiting.set(id, others);
      const error = this.#dispatcher?.trouble?.error ?? new Error(BUSY);
      for (const { end } of late) end({ ...NOTHING, error });
    }
  }

  async #run(claim: Claim, lease: Lease): Promise<Outcome | null> {
    const running = this.#running.get(claim.accountId);
    this.#running.delete(claim.accountId);
    if (running === undefined) return null;

    const sync = new CallSync(running, lease, this.#options);
    try {
      const outcome = await this.#options.parts.sync(claim, lease, (parts) => sync.adapt(parts));
      // An earlier send was finished instead.
      if (outcome !== null && !sync.isConcluded && running.finishedFirst < FIRST_AT_MOST)
        this.#wait({ ...running, until: null, finishedFirst: running.finishedFirst + 1 });
      else running.end(sync.ended(outcome, null));
      return outcome;
    } catch (error) {
      running.end(sync.ended(null, error));
      throw error;
    } finally {
      sync.close();
      this.#restWhenDone({ runningBesides: 1 });
    }
  }

  /** @param runningBesides runs that are still counted and are over: that of whoever asks */
  #restWhenDone({ runningBesides }: { readonly runningBesides: number }): void {
    if (this.#waiting.size > 0 || this.#running.size > 0 || this.#isClosed) return;
    const dispatcher = this.#dispatcher;
    if (dispatcher === null || dispatcher.runningCount > runningBesides) return;
    this.#dispatcher = null;
    void dispatcher.stop(CLOSE_WITHIN_MS);
  }
}

const NOTHING: Ended = {
  command: null,
  result: null,
  sent: null,
  received: null,
  outcome: null,
  error: null,
};

function toClaim(taken: Taken, { userId, configId }: Call): Claim {
  return {
    ...taken,
    trigger: "manual",
    pendingMs: 0,
    userId,
    configId,
    // Who calls wants it sent, whatever was sent before.
    force: true,
    // But has not looked whether a create in doubt was applied.
    retry: false,
    removedExternalId: null,
  };
}

/** One call under its lease: what it sends is the caller's, and everything is taken down that the caller will be told. */
class CallSync {
  readonly #running: Running;
  readonly #options: CallsOptions;
  readonly #givenUp = new AbortController();
  #callOff = () => {};
  #isInFlight = false;
  #unfinishedKey: string | null = null;
  #fingerprintOfRows: string | null = null;
  #send: Send | null = null;
  #result: ApiResult | null = null;
  #received: ReceivedIds | null = null;
  /** The outcome is this call's, and not an earlier send's. */
  isConcluded = false;

  constructor(running: Running, lease: Lease, options: CallsOptions) {
    this.#running = running;
    this.#options = options;
    lease.signal.addEventListener("abort", () => this.#giveUpSoon(), { once: true });
  }

  adapt(parts: SyncParts): SyncParts {
    return {
      ...parts,
      load: async (accountId) => {
        const loaded = await parts.load(accountId);
        this.#unfinishedKey = loaded.unsettled?.idempotencyKey ?? null;
        const { account } = loaded;
        if (account === null) return loaded;
        this.#fingerprintOfRows = fingerprintOf(toCommand(account, parts.mapping).command);
        return { ...loaded, account: completedBy(account, this.#running.call.account) };
      },
      journalSend: async (send, leaving) => {
        if (send.idempotencyKey !== this.#unfinishedKey) this.#send = send;
        return await parts.journalSend(send, this.#untilGivenUp(leaving));
      },
      api: {
        ...parts.api,
        send: async (connection, request) => {
          this.#isInFlight = true;
          const result = await parts.api.send(connection, request);
          this.#isInFlight = false;
          if (request.idempotencyKey === this.#send?.idempotencyKey) this.#result = result;
          this.#giveUpSoon();
          return result;
        },
      },
      journalAnswer: async (answered, leaving) => {
        if (this.#result !== null) this.#received = answered.received;
        await parts.journalAnswer(answered, this.#untilGivenUp(leaving));
      },
      settle: async (conclusion, leaving) =>
        await parts.settle(
          // Sent whatever was sent before; but nobody has said that an id that stands may be replaced.
          { ...this.#speakFor(conclusion), claim: { ...conclusion.claim, force: false } },
          this.#untilGivenUp(leaving),
        ),
    };
  }

  ended(outcome: Outcome | null, error: unknown): Ended {
    return {
      command: this.#send === null ? null : (JSON.parse(this.#send.body) as CustomerCommand),
      result: this.#result,
      sent: this.#send?.sent ?? null,
      received: this.#received,
      outcome,
      error,
    };
  }

  close(): void {
    this.#callOff();
  }

  /**
   * The generation that the conclusion ends. A refusal of the caller's data says nothing of the rows, and what was pending is
   * delivered only when the rows say the same: otherwise a new round begins, in which a daemon looks.
   */
  #speakFor(conclusion: Conclusion): Conclusion {
    const { taken } = this.#running;
    const isOwn = conclusion.attempt === null || this.#send !== null;
    this.isConcluded = isOwn || conclusion.kind === "ended";
    if (!isOwn) return conclusion;

    const isAboutTheRows =
      conclusion.kind === "accepted"
        ? !taken.wasPending || this.#send?.fingerprint === this.#fingerprintOfRows
        : conclusion.name === "gone" || conclusion.errorClass === "unknown_outcome";
    if (isAboutTheRows) return conclusion;

    const older = String(BigInt(taken.generation) - 1n);
    return conclusion.kind === "accepted"
      ? { ...conclusion, attempt: { ...conclusion.attempt, generation: older } }
      : { ...conclusion, generation: older };
  }

  #giveUpSoon(): void {
    this.#callOff();
    if (this.#isInFlight) return;
    const { parts, writeWithinMs } = this.#options;
    this.#callOff = parts.clock.after(writeWithinMs, () => this.#givenUp.abort());
  }

  /** A caller waits for no database for ever; what the API gave out is told him, and is in the journal if that could be written. */
  #untilGivenUp(leaving: AbortSignal): AbortSignal {
    return AbortSignal.any([leaving, this.#givenUp.signal]);
  }
}
