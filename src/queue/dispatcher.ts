/**
 * The loop that decides when accounts are claimed, and keeps the leases of those that are at work: due → claim → run.
 *
 * Due accounts come through one port: the queue of the daemon, the calls of the library, the ids that the `sync` command was given. The
 * dispatcher knows nothing of where they come from, nor of what a sync does.
 */
import type { Clock } from "../clock.ts";
import { isContention, isOutage } from "../db/error-code.ts";
import type { Observe } from "../ops/observe.ts";
import type { Outcome } from "../sync/outcome.ts";
import { GiveBack } from "./give-back.ts";
import { type Lease, RenewedLease } from "./lease.ts";
import { Loop, type LoopTrouble } from "./loop.ts";
import type { Claim } from "./queue.ts";
import type { RequestSlots } from "./request-slots.ts";
import { type Capacity, Room } from "./room.ts";

/** A source of due accounts, and what the dispatcher does with the claims it got from there. */
export interface DueAccounts {
  readonly leaseMs: number;
  /** Without a renewal for so long, another process may have our accounts. */
  readonly silenceMs: number;
  claim(limit: number): Promise<readonly Claim[]>;
  /** Milliseconds until the next account falls due; null when none will. */
  nextDueInMs(): Promise<number | null>;
  /** Resolves with the account ids that are still ours. */
  renew(claims: readonly Claim[]): Promise<ReadonlySet<string>>;
  /** Gives claims back unworked. */
  release(claims: readonly Claim[]): Promise<void>;
}

export interface DispatcherOptions {
  readonly clock: Clock;
  readonly due: DueAccounts;
  /** Brings one account to its outcome. Resolves null when the lease was lost. */
  readonly run: (claim: Claim, lease: Lease) => Promise<Outcome | null>;
  readonly capacity: Capacity;
  /** More is due than this process takes: others may help. */
  readonly onMoreDue: () => Promise<void>;
  readonly observe: Pick<
    Observe,
    "databaseBack" | "databaseTrouble" | "leaseLost" | "ran" | "warning"
  >;
  readonly concurrency: number;
  /** Where accounts at work wait for their requests. */
  readonly slots: Pick<RequestSlots, "refuseWaiting">;
  /** Due accounts are claimed at least so often, whatever was said about the next one. */
  readonly sweepIntervalMs: number;
}

/** How often the other replicas are told that there is more to do than one can take. */
const TELL_EVERY_MS = 500;
/** An account that is due and was not claimed: its row is locked just now, by a fold or a settling worker. */
const LOCKED_WAIT_MS = 20;
/** Within the silence after which our requests are aborted, three renewals may fail. */
const RENEW_AT_LEAST_EVERY_MS = 750;
/** What aborted requests may take to be settled when the drain deadline has passed. */
export const ABORT_GRACE_MS = 2_000;

interface Running {
  readonly claim: Claim;
  readonly lease: RenewedLease;
  done: Promise<void>;
}

export class Dispatcher {
  readonly #options: DispatcherOptions;
  readonly #loop: Loop;
  readonly #running = new Set<Running>();
  /** Of two runs of one account, the later one. */
  readonly #runningOf = new Map<string, Running>();
  readonly #room: Room;
  readonly #giveBack: GiveBack;
  /** null while nothing is at work. */
  #endRenewals: (() => void) | null = null;
  #renewing = false;
  #waitsForCreates = false;

  /*
   * The loop's deadlines, monotonic. Accounts are claimed at #dueAt, which is what the port said after the last claim (at once after a
   * wake or a run, which may have moved it), and at #sweepAt in any case; while #mayBeMoreDue, because the last claim took as many as there
   * was room for, as soon as there is room for a batch again. No room or an API that is away hold claims back and move none of these, so
   * everything that has passed counts when there is room again.
   */
  #dueAt = Number.POSITIVE_INFINITY;
  /** Counts what may have moved #dueAt, so that what happens during a claim is not overwritten by what the port said before it. */
  #moves = 0;
  #sweepAt = 0;
  #mayBeMoreDue = false;
  #toldAt = Number.NEGATIVE_INFINITY;

  constructor(options: DispatcherOptions) {
    this.#options = options;
    const { clock, due, observe, sweepIntervalMs } = options;
    this.#room = new Room(options);
    this.#giveBack = new GiveBack({
      clock,
      leaseMs: due.leaseMs,
      release: (claims) => due.release(claims),
      onTrouble: (error) => observe.databaseTrouble({ doing: "giving accounts back", error }),
      onReleased: () => this.wake(),
    });
    this.#loop = new Loop({
      clock,
      round: () => this.#round(),
      longestWaitMs: sweepIntervalMs,
      onTrouble: (error) => {
        // What the port said before the trouble may be over.
        this.#dueAt = 0;
        observe.databaseTrouble({ doing: "looking for due accounts", error });
      },
      onRecovered: () => observe.databaseBack(),
    });
  }

  /** Claims nothing before the first wake, or the first sweep. */
  start(): void {
    this.#sweepAt = this.#now() + this.#options.sweepIntervalMs;
    this.#loop.start();
  }

  /** Something may have fallen due: a fold, a take-over, a person's retry. */
  wake(): void {
    this.#dueAt = 0;
    this.#moves += 1;
    this.#loop.wake();
  }

  /** Why nothing is claimed at present; null while claims get through. */
  get trouble(): LoopTrouble | null {
    return this.#loop.trouble;
  }

  get runningCount(): number {
    return this.#running.size;
  }

  /**
   * Drains: claims nothing more, gives back what would have to wait for others to end, and waits for what is in flight; what is not done
   * after `timeoutMs` is aborted, and found again by the next daemon.
   *
   * @param createsMs for what the lease says is waited for longer: creates on the wire. None is begun that could not end within it.
   *   Without it they have `timeoutMs`, too, and are begun as long as the drain lasts.
   */
  async stop(timeoutMs: number, createsMs?: number): Promise<void> {
    if (createsMs !== undefined)
      for (const { lease } of this.#running) lease.leaveWithin(createsMs);
    for (const { lease } of this.#running) lease.drain();
    this.#options.slots.refuseWaiting();
    const drained = this.#loop.stop().then(() => this.#allDone());
    await this.#within(timeoutMs, drained);
    const waitedFor = [...this.#running].filter(({ lease }) => lease.isWaitedFor);
    for (const running of this.#running) if (!waitedFor.includes(running)) running.lease.leave();
    if (createsMs !== undefined && waitedFor.length > 0) {
      this.#waitsForCreates = true;
      const answered = Promise.all(waitedFor.map(({ done }) => done));
      await this.#within(createsMs - timeoutMs, answered);
    }
    for (const { lease } of this.#running) lease.leave();
    const allGivenBack = drained.then(() => this.#giveBack.allDone());
    await this.#within(ABORT_GRACE_MS, allGivenBack);
    this.#giveBack.leave();
    this.#endRenewals?.();
  }

  /** Whether the drain lasts longer than `timeoutMs`. */
  get waitsForCreates(): boolean {
    return this.#waitsForCreates;
  }

  async #allDone(): Promise<void> {
    while (this.#running.size > 0) await Promise.all([...this.#running].map(({ done }) => done));
  }

  async #round(): Promise<number> {
    if (this.#isTimeToClaim()) await this.#claimDue();
    // No room or an API that is away: the trouble is over only when the database has answered.
    else if (this.trouble !== null) await this.#askNextDue();
    return this.#untilClaim();
  }

  #isTimeToClaim(): boolean {
    if (!this.#hasRoom() || this.#options.capacity.availableInMs() > 0) return false;
    const now = this.#now();
    return this.#mayBeMoreDue || now >= this.#dueAt || now >= this.#sweepAt;
  }

  async #claimDue(): Promise<void> {
    const { due, sweepIntervalMs } = this.#options;
    const now = this.#now();
    const free = this.#room.free();
    const moves = this.#moves;
    const claims = await due.claim(free);
    // Leases count from when they were asked for; after a long wait for the answer nothing of them may be left.
    const elapsedMs = this.#now() - now;
    if (this.#loop.isStopping || elapsedMs >= due.silenceMs) return this.#giveBack.start(claims);
    for (const claim of claims) this.#run(claim, elapsedMs);

    this.#sweepAt = now + sweepIntervalMs;
    this.#mayBeMoreDue = claims.length === free;
    if (this.#mayBeMoreDue) await this.#tellOthers();
    else await this.#askNextDue(moves);
  }

  /** @param moves what had moved #dueAt when the accounts were claimed */
  async #askNextDue(moves = this.#moves): Promise<void> {
    const dueInMs = await this.#options.due.nextDueInMs();
    if (this.#moves !== moves) return;
    this.#dueAt =
      dueInMs === null ? Number.POSITIVE_INFINITY : this.#now() + Math.max(dueInMs, LOCKED_WAIT_MS);
  }

  #hasRoom(): boolean {
    // Not for longer than a sweep: while requests hang, there is no room for a batch, and a person's request may be waiting.
    const waitsForBatch = this.#mayBeMoreDue && this.#now() < this.#sweepAt;
    return waitsForBatch ? this.#room.hasFreeBatch() : this.#room.free() > 0;
  }

  async #tellOthers(): Promise<void> {
    const now = this.#now();
    if (now - this.#toldAt < TELL_EVERY_MS) return;
    this.#toldAt = now;
    await this.#options.onMoreDue();
  }

  #run(claim: Claim, elapsedMs: number): void {
    const { clock, due } = this.#options;
    const lease = new RenewedLease(clock, due.silenceMs, elapsedMs);
    const leaveRoom = this.#room.take();
    const running: Running = { claim, lease, done: Promise.resolve() };
    const before = this.#runningOf.get(claim.accountId);
    running.done = this.#runAfter(before, claim, lease).finally(() => {
      lease.close();
      this.#running.delete(running);
      if (this.#runningOf.get(claim.accountId) === running) this.#runningOf.delete(claim.accountId);
      leaveRoom();
      // The account may be due again soon (a retry, a newer change), or have made others due.
      this.wake();
    });
    this.#running.add(running);
    this.#runningOf.set(claim.accountId, running);
    if (this.#endRenewals === null) this.#keepRenewing();
  }

  /** We claimed an account that we still work on: its lease ran out. The old run has to end first, or two requests would overlap. */
  async #runAfter(before: Running | undefined, claim: Claim, lease: Lease): Promise<void> {
    before?.lease.lose();
    await before?.done;
    await this.#runOne(claim, lease);
  }

  async #runOne(claim: Claim, lease: Lease): Promise<void> {
    const { run, observe } = this.#options;
    const startedAt = this.#now();
    try {
      const outcome = await run(claim, lease);
      if (outcome === null) {
        // Given back at a shutdown; where another process has the lease by now, this changes nothing.
        if (this.#loop.isStopping) this.#giveBack.start([claim]);
        else observe.leaseLost(claim.accountId);
        return;
      }
      const durationMs = this.#now() - startedAt;
      observe.ran({
        accountId: claim.accountId,
        outcome: outcome.name,
        trigger: claim.trigger,
        attempt: claim.attempts + 1,
        durationMs,
        lagMs: claim.pendingMs + durationMs,
        httpStatus: outcome.httpStatus,
        errorClass: outcome.errorClass,
        error: outcome.error,
        updated: outcome.updated,
        failed: outcome.failed,
        isExpected: outcome.isExpected ?? false,
      });
    } catch (error) {
      if (!isOutage(error) && !isContention(error)) {
        return observe.warning("A sync failed and could not be settled; the lease runs out", {
          account_id: claim.accountId,
          error,
        });
      }
      observe.databaseTrouble({ doing: "syncing an account", error });
      this.#giveBack.start([claim]);
    }
  }

  #keepRenewing(): void {
    // A third of the lease: one renewal may fail, and the second still comes in time.
    const everyMs = Math.min(this.#options.due.leaseMs / 3, RENEW_AT_LEAST_EVERY_MS);
    this.#endRenewals = this.#options.clock.after(everyMs, () => {
      this.#endRenewals = null;
      if (this.#running.size === 0) return;
      this.#keepRenewing();
      void this.#renew();
    });
  }

  async #renew(): Promise<void> {
    const running = [...this.#running];
    if (this.#renewing) return;
    this.#renewing = true;
    const begunAt = this.#now();
    try {
      const renewed = await this.#options.due.renew(running.map(({ claim }) => claim));
      for (const one of running) {
        // Settled meanwhile: it had no lease left to renew, and nothing is lost.
        if (!this.#running.has(one)) continue;
        if (renewed.has(one.claim.accountId)) one.lease.renewed(this.#now() - begunAt);
        else one.lease.lose();
      }
    } catch (error) {
      this.#options.observe.databaseTrouble({ doing: "renewing leases", error });
    } finally {
      this.#renewing = false;
    }
  }

  /** Milliseconds until the next claim makes sense. */
  #untilClaim(): number {
    const { capacity } = this.#options;
    const untilDue = this.#mayBeMoreDue ? 0 : Math.min(this.#dueAt, this.#sweepAt) - this.#now();
    const unavailableForMs = capacity.availableInMs();
    // An account that ends wakes us.
    const waitsForRoom = unavailableForMs === 0 && !this.#hasRoom();
    return waitsForRoom ? Number.POSITIVE_INFINITY : Math.max(untilDue, unavailableForMs);
  }

  async #within(ms: number, work: Promise<unknown>): Promise<void> {
    const { promise: timeIsUp, resolve } = Promise.withResolvers<void>();
    const callOff = this.#options.clock.after(ms, resolve);
    await Promise.race([work, timeIsUp]);
    callOff();
  }

  #now(): number {
    return this.#options.clock.now();
  }
}
