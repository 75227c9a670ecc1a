/**
 * Syncs by call: a source of due accounts that are the callers' own. What is handed in goes to the API through the pipeline of the daemon,
 * beside daemons and other callers.
 *
 *     waiting ──taken, as soon as no process has the account──▶ running ──▶ ended
 *        └────────the account did not become free in time──────────────────▲
 *
 * The lease is the one that daemons take, the send is journaled and fenced like theirs, and whether it is a create or an update is
 * decided by the row as it stands under the lease. An earlier send that is not finished goes first; then the account is taken once more.
 * What was pending is not this call's to end: a daemon looks at the rows afterwards, and finds them sent, or sends them.
 */
import type { Account } from "../account/account.ts";
import { loadAccounts } from "../account/load.ts";
import type { Observe } from "../ops/observe.ts";
import { Dispatcher } from "../queue/dispatcher.ts";
import type { Lease } from "../queue/lease.ts";
import type { Claim, Taken } from "../queue/queue.ts";
import { UNLIMITED } from "../queue/room.ts";
import type { Outcome } from "../sync/outcome.ts";
import type { Wiring } from "../wiring.ts";
import { type CallResult, CallSync, NOTHING_DONE } from "./call-sync.ts";
import { CLOSED } from "./database-error.ts";

export interface Call {
  readonly account: Account;
  readonly userId: string | null;
  readonly configId: string | null;
}

export interface CallsOptions {
  readonly wiring: Wiring;
  readonly observe: Observe;
  /** Calls that are worked on at the same time. */
  readonly concurrency: number;
  /** How long a call waits for an account that another process has. */
  readonly waitMs: number;
  /** How long, once the API has answered, the database is waited for. */
  readonly writeWithinMs: number;
}

export const BUSY = "another process had the account for all the time that was waited";
/** How often accounts are asked for that another process has. */
const LOOK_EVERY_MS = 50;
/** Accounts that are asked for in one statement. */
const ASKED_AT_ONCE = 1_000;
/** Earlier sends that a call finishes before its own: each was the account's only one, so there is hardly ever more than one. */
const EARLIER_SENDS_MAX = 5;
/** What is under way when the library is closed may take so long. */
const CLOSE_WITHIN_MS = 10_000;

interface Waiting {
  readonly call: Call;
  /** When it is given up; null while it is not known that another process has the account. */
  until: number | null;
  readonly end: (result: CallResult) => void;
  earlierSendsFinished: number;
}

interface RunningCall extends Waiting {
  readonly taken: Taken;
}

export class Calls {
  readonly #options: CallsOptions;
  /** By account, in the order they came. */
  readonly #waiting = new Map<string, Waiting[]>();
  readonly #running = new Map<string, RunningCall>();
  /** Lives while there are calls, so that it does not keep a process alive that has none. */
  #dispatcher: Dispatcher | null = null;
  #isClosed = false;

  constructor(options: CallsOptions) {
    this.#options = options;
  }

  /** Never rejects. */
  async sync(call: Call): Promise<CallResult> {
    if (this.#isClosed) return { ...NOTHING_DONE, error: new Error(CLOSED) };

    const { promise, resolve } = Promise.withResolvers<CallResult>();
    this.#wait({ call, until: null, end: resolve, earlierSendsFinished: 0 });
    return await promise;
  }

  /** Finishes what is under way; calls that still wait are given up. */
  async close(): Promise<void> {
    this.#isClosed = true;
    for (const waiting of [...this.#waiting.values()].flat())
      waiting.end({ ...NOTHING_DONE, error: new Error(CLOSED) });
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

  #createDispatcher(): Dispatcher {
    const { wiring, observe, concurrency } = this.#options;
    const { queue } = wiring;
    return new Dispatcher({
      clock: wiring.clock,
      due: {
        leaseMs: queue.leaseMs,
        silenceMs: queue.silenceMs,
        claim: (limit) => this.#take(limit),
        nextDueInMs: async () => (this.#waiting.size === 0 ? null : LOOK_EVERY_MS),
        renew: (claims) => queue.renew(claims),
        release: (claims) => this.#release(claims),
      },
      run: (claim, lease) => this.#run(claim, lease),
      capacity: UNLIMITED,
      // A call is this process's own.
      onMoreDue: async () => {},
      observe,
      concurrency,
      slots: wiring.slots,
      sweepIntervalMs: LOOK_EVERY_MS,
    });
  }

  async #take(limit: number): Promise<Claim[]> {
    this.#giveUpLate();
    const ids = [...this.#waiting.keys()].slice(0, ASKED_AT_ONCE);
    if (ids.length === 0) {
      this.#stopWhenDone({ runningBesides: 0 });
      return [];
    }
    // While the database is in trouble, no call's turn comes.
    if (this.#dispatcher?.trouble != null) this.#startWaiting([...this.#waiting.keys()]);
    const taken = await this.#options.wiring.queue.take(ids, limit);
    for (const own of taken) {
      const [first, ...others] = this.#waiting.get(own.accountId) ?? [];
      this.#waiting.delete(own.accountId);
      if (others.length > 0) this.#waiting.set(own.accountId, others);
      if (first !== undefined) this.#running.set(own.accountId, { ...first, taken: own });
    }
    if (taken.length < limit) this.#startWaiting(ids);
    // Closed meanwhile: nothing is left to be done under these leases.
    const unwanted = taken.filter(({ accountId }) => !this.#running.has(accountId));
    if (unwanted.length > 0) await this.#options.wiring.queue.release(unwanted);
    return taken.flatMap((own) => {
      const running = this.#running.get(own.accountId);
      return running === undefined ? [] : [toClaim(own, running.call)];
    });
  }

  /** Claims that were not run, as their answer came too late or the library was closed: their calls wait again, or are over. */
  async #release(claims: readonly Claim[]): Promise<void> {
    for (const { accountId, leaseToken } of claims) {
      const running = this.#running.get(accountId);
      // Given back again, as the database did not answer: the account may have been taken for another call meanwhile.
      if (running?.taken.leaseToken !== leaseToken) continue;
      this.#running.delete(accountId);
      if (this.#isClosed) running.end({ ...NOTHING_DONE, error: new Error(CLOSED) });
      else this.#wait({ ...running, until: null });
    }
    await this.#options.wiring.queue.release(claims);
  }

  /** Another process has these accounts, and the time of these calls runs from now. That of a call behind another call does not. */
  #startWaiting(ids: readonly string[]): void {
    const { wiring, waitMs } = this.#options;
    const until = wiring.clock.now() + waitMs;
    for (const waiting of ids.flatMap((id) => this.#waiting.get(id) ?? [])) waiting.until ??= until;
  }

  #giveUpLate(): void {
    const now = this.#options.wiring.clock.now();
    const isLate = ({ until }: Waiting) => until !== null && until <= now;
    for (const [id, line] of this.#waiting) {
      const late = line.filter(isLate);
      if (late.length === 0) continue;
      const others = line.filter((waiting) => !isLate(waiting));
      if (others.length === 0) this.#waiting.delete(id);
      else this.#waiting.set(id, others);
      const error = this.#dispatcher?.trouble?.error ?? new Error(BUSY);
      for (const { end } of late) end({ ...NOTHING_DONE, error });
    }
  }

  async #run(claim: Claim, lease: Lease): Promise<Outcome | null> {
    const running = this.#running.get(claim.accountId);
    this.#running.delete(claim.accountId);
    if (running === undefined) return null;

    const { wiring, writeWithinMs, observe } = this.#options;
    const { clock, mapping } = wiring;
    const { call, taken } = running;
    const sync = new CallSync({
      clock,
      mapping,
      writeWithinMs,
      lease,
      given: call.account,
      taken,
      foldNow: (accountId) => this.#foldNow(accountId),
      readRow: async (accountId) =>
        (await loadAccounts(wiring.db, [accountId]))[0]?.account ?? null,
      observe,
    });
    try {
      const outcome = await wiring.sync(claim, lease, sync);
      // An earlier send was finished instead.
      if (outcome !== null && !sync.isConcluded && running.earlierSendsFinished < EARLIER_SENDS_MAX)
        this.#wait({
          ...running,
          until: null,
          earlierSendsFinished: running.earlierSendsFinished + 1,
        });
      else running.end(sync.result(outcome, null));
      return outcome;
    } catch (error) {
      running.end(sync.result(null, error));
      throw error;
    } finally {
      sync.close();
      this.#stopWhenDone({ runningBesides: 1 });
    }
  }

  async #foldNow(accountId: string): Promise<string | null> {
    const { db, queue } = this.#options.wiring;
    await queue.fold();
    const [row] = await db.run<{ generation: string }>("read_generation", [accountId]);
    return row?.generation ?? null;
  }

  /** @param runningBesides runs that have ended and that the dispatcher still counts: 1 at the end of a run */
  #stopWhenDone({ runningBesides }: { readonly runningBesides: number }): void {
    if (this.#waiting.size > 0 || this.#running.size > 0 || this.#isClosed) return;
    const dispatcher = this.#dispatcher;
    if (dispatcher === null || dispatcher.runningCount > runningBesides) return;
    this.#dispatcher = null;
    void dispatcher.stop(CLOSE_WITHIN_MS);
  }
}

export function toClaim(
  taken: Taken,
  { userId, configId }: Pick<Call, "userId" | "configId">,
): Claim {
  return {
    ...taken,
    trigger: "manual",
    pendingMs: 0,
    userId,
    configId,
    // A call wants it sent, whatever was sent before.
    force: true,
    // But its caller has not looked whether a create in doubt was applied.
    retry: false,
    discard: false,
    replace: false,
    removedExternalId: null,
  };
}
