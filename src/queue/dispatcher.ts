/**
 * The loop that decides when and how many: wake or due → fold → claim → run, up to `concurrency` at a time.
 *
 * It is woken (a notification, a free slot) or wakes itself (an account falls due, the doorbell says look, a sweep), and does all
 * its looking in one place, so nothing depends on which of these it was. It knows nothing of what a sync does.
 */
import { type Clock, sleep } from "../clock.ts";
import { isContention, isOutage } from "../db/database.ts";
import type { Observe } from "../ops/observe.ts";
import type { Outcome } from "../sync/outcome.ts";
import { type Lease, RenewedLease } from "./lease.ts";
import { type Claim, FOLD_LIMIT, type Queue } from "./queue.ts";

export interface DispatcherOptions {
  readonly clock: Clock;
  readonly queue: Queue;
  /** Brings one account to its outcome. Resolves null when the lease was lost. */
  readonly run: (claim: Claim, lease: Lease) => Promise<Outcome | null>;
  /** Says when to look next; told what every look found. */
  readonly doorbell: { afterLook(found: boolean): Promise<number> };
  /** Wakes the other replicas when there is more than we can take. */
  readonly ring: () => Promise<void>;
  /** Milliseconds until the API may be sent to, 0 for now. While it is not, nothing is claimed. */
  readonly availableInMs: () => number;
  /** How many sends make sense now: one where only a probe would get through. */
  readonly slots: () => number;
  readonly observe: Observe;
  readonly concurrency: number;
  readonly sweepIntervalMs: number;
}

/** A loop that the database fails is repeated after this, doubled up to the second figure. */
const TROUBLE_WAIT_MS = { first: 100, longest: 2_000 };
/** How often other replicas are told that there is more to do than one can take. */
const RING_EVERY_MS = 500;
/** An account that is due and was not claimed: its row is locked just now, by a fold or a settling worker. */
const LOCKED_WAIT_MS = 20;
/** Within the silence after which our requests are aborted, three renewals may fail. */
const RENEW_AT_LEAST_EVERY_MS = 750;
/** What aborted requests may take to be settled when the drain deadline has passed. */
export const ABORT_GRACE_MS = 2_000;

interface Running {
  readonly claim: Claim;
  /** Claimed when only so many sends made sense. */
  readonly isProbe: boolean;
  readonly lease: RenewedLease;
  done: Promise<void>;
}

export class Dispatcher {
  readonly #options: DispatcherOptions;
  readonly #running = new Set<Running>();
  readonly #stopping = new AbortController();
  #loop: Promise<void> = Promise.resolve();
  #endRenewals = () => {};
  #renewing = false;
  #alarm: (() => void) | null = null;

  /*
   * The loop's deadlines, monotonic. A wake makes it look at the change table at once; without one it does at #lookAt, which the
   * doorbell sets after every look. A look also continues with the markers while #mayExpand says there are some; those of other
   * replicas, or set aside, are looked for at #expandAt, once a sweep. Accounts are claimed at #dueAt, which is what the queue said
   * after the last claim (at once after a wake, a fold or a run, which may have moved it), and at #sweepAt in any case; while #mayBeMoreDue,
   * because the last claim filled every slot, as soon as a slot is free. Full slots or an API that is away hold claims back and move
   * none of these, so everything that has passed counts when there is room again.
   */
  #woken = true;
  #lookAt = 0;
  #mayExpand = true;
  #expandAt = 0;
  #dueAt = Number.POSITIVE_INFINITY;
  #sweepAt = 0;
  #mayBeMoreDue = false;
  #rangAt = Number.NEGATIVE_INFINITY;
  #trouble: { readonly error: unknown; readonly sinceMs: number } | null = null;

  constructor(options: DispatcherOptions) {
    this.#options = options;
  }

  start(): void {
    this.#keepRenewing();
    this.#loop = this.#dispatch();
  }

  /** Something may have changed. Sets a flag: the loop runs at its own pace. */
  wake(): void {
    this.#woken = true;
    this.#alarm?.();
  }

  /** What keeps the loop from its work at present, and since when, monotonic; null when it goes round. */
  get trouble(): { readonly error: unknown; readonly sinceMs: number } | null {
    return this.#trouble;
  }

  get runningCount(): number {
    return this.#running.size;
  }

  /**
   * Drains: claims nothing more and waits for what is in flight; what is not done after `timeoutMs` is aborted, and found again by the
   * next daemon.
   */
  async stop(timeoutMs: number): Promise<void> {
    this.#stopping.abort();
    this.#alarm?.();

    const drained = this.#loop.then(() => this.#allDone());
    await this.#within(timeoutMs, drained);
    for (const { lease } of this.#running) lease.leave();
    await this.#within(ABORT_GRACE_MS, drained);
    this.#endRenewals();
  }

  async #allDone(): Promise<void> {
    while (this.#running.size > 0) await Promise.all([...this.#running].map(({ done }) => done));
  }

  async #dispatch(): Promise<void> {
    let troubleWaitMs = TROUBLE_WAIT_MS.first;
    while (!this.#stopping.signal.aborted) {
      try {
        const trouble = await this.#lookAtChanges().then(
          () => null,
          (error: unknown) => ({ error }),
        );
        // What is due is worked off also while changes cannot be folded.
        await this.#claimDue();
        if (trouble !== null) throw trouble.error;
        if (troubleWaitMs > TROUBLE_WAIT_MS.first) this.#options.observe.databaseBack();
        troubleWaitMs = TROUBLE_WAIT_MS.first;
        this.#trouble = null;
        await this.#sleep(this.#untilNext());
      } catch (error) {
        this.#trouble = { error, sinceMs: this.#trouble?.sinceMs ?? this.#now() };
        this.#options.observe.databaseTrouble({ doing: "looking for due accounts", error });
        this.#woken = true;
        // Through wakes: being told of changes does not mend the database.
        const { clock } = this.#options;
        await sleep(clock, troubleWaitMs * (0.5 + clock.random() / 2), this.#stopping.signal);
        troubleWaitMs = Math.min(troubleWaitMs * 2, TROUBLE_WAIT_MS.longest);
      }
    }
  }

  async #lookAtChanges(): Promise<void> {
    if (!this.#woken && this.#now() < this.#lookAt) return;
    // Who wakes us may have made accounts due without a change: a take-over, a person's retry, a replica with too much to do.
    if (this.#woken) this.#dueAt = 0;
    this.#woken = false;

    const { queue, doorbell, observe, sweepIntervalMs } = this.#options;
    const folded = await queue.fold();
    if (folded.changes > 0) observe.folded(folded);
    const now = this.#now();
    const isTimeToExpand = now >= this.#expandAt;
    if (isTimeToExpand) this.#expandAt = now + sweepIntervalMs;
    this.#mayExpand ||= folded.markers > 0 || isTimeToExpand;
    const expansion = this.#mayExpand && (await queue.expand());
    if (typeof expansion === "object")
      observe.databaseTrouble({ doing: "expanding a marker", error: expansion.error });
    const expanded = expansion !== false;
    this.#mayExpand = expanded;
    const found = folded.changes > 0 || expanded;
    if (folded.accounts > 0) this.#dueAt = 0;

    const lookInMs = await doorbell.afterLook(found);
    const isMore = folded.changes === FOLD_LIMIT || expanded;
    this.#lookAt = isMore ? 0 : this.#now() + lookInMs;
  }

  async #claimDue(): Promise<void> {
    const { queue, sweepIntervalMs, availableInMs } = this.#options;
    const now = this.#now();
    const free = this.#freeSlots();
    if (free <= 0 || availableInMs() > 0) return;
    if (!this.#mayBeMoreDue && now < this.#dueAt && now < this.#sweepAt) return;

    const claims = await queue.claim(free);
    // Leases count from when they were asked for; after a long wait for the answer nothing of them may be left.
    const elapsedMs = this.#now() - now;
    if (this.#stopping.signal.aborted || elapsedMs >= queue.silenceMs)
      return await queue.release(claims);
    for (const claim of claims) this.#run(claim, elapsedMs);

    this.#sweepAt = now + sweepIntervalMs;
    this.#mayBeMoreDue = claims.length === free;
    if (this.#mayBeMoreDue) return this.#tellOthers();
    const dueInMs = await queue.nextDueInMs();
    this.#dueAt =
      dueInMs === null ? Number.POSITIVE_INFINITY : this.#now() + Math.max(dueInMs, LOCKED_WAIT_MS);
  }

  /** When only probes make sense, those that are on their way count; what has been in flight since before does not. */
  #freeSlots(): number {
    const { concurrency, slots } = this.#options;
    const probes = [...this.#running].filter(({ isProbe }) => isProbe).length;
    return Math.min(concurrency - this.#running.size, slots() - probes);
  }

  async #tellOthers(): Promise<void> {
    const now = this.#now();
    if (now - this.#rangAt < RING_EVERY_MS) return;
    this.#rangAt = now;
    await this.#options.ring();
  }

  #run(claim: Claim, elapsedMs: number): void {
    const { clock, queue, slots } = this.#options;
    const lease = new RenewedLease(clock, queue.silenceMs, elapsedMs);
    const running: Running = {
      claim,
      isProbe: Number.isFinite(slots()),
      lease,
      done: Promise.resolve(),
    };
    const before = [...this.#running].filter((one) => one.claim.accountId === claim.accountId);
    running.done = this.#runAfter(before, claim, lease).finally(() => {
      lease.close();
      this.#running.delete(running);
      // It may be due again soon (a retry, a newer change), or have woken others.
      this.#dueAt = 0;
      this.#alarm?.();
    });
    this.#running.add(running);
  }

  /** We claimed an account that we still work on: its lease ran out. The old run has to end first, or two requests would overlap. */
  async #runAfter(before: readonly Running[], claim: Claim, lease: Lease): Promise<void> {
    for (const old of before) old.lease.lose();
    await Promise.all(before.map(({ done }) => done));
    await this.#runOne(claim, lease);
  }

  async #runOne(claim: Claim, lease: Lease): Promise<void> {
    const { run, observe, queue } = this.#options;
    const startedAt = this.#now();
    try {
      const outcome = await run(claim, lease);
      if (outcome === null) {
        // Given back at a shutdown; where the lease is somebody else's by now, this changes nothing.
        if (this.#stopping.signal.aborted) await queue.release([claim]);
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
      // Back to due at once when the database is there again to be told; else the lease runs out by itself.
      await queue.release([claim]).catch(() => {});
    }
  }

  #keepRenewing(): void {
    // A third of the lease: one renewal may fail, and the second still comes in time.
    const everyMs = Math.min(this.#options.queue.leaseMs / 3, RENEW_AT_LEAST_EVERY_MS);
    this.#endRenewals = this.#options.clock.after(everyMs, () => {
      this.#keepRenewing();
      void this.#renew();
    });
  }

  async #renew(): Promise<void> {
    const running = [...this.#running];
    if (running.length === 0 || this.#renewing) return;
    this.#renewing = true;
    const begunAt = this.#now();
    try {
      const renewed = await this.#options.queue.renew(running.map(({ claim }) => claim));
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

  #untilNext(): number {
    if (this.#woken) return 0;
    return Math.min(this.#lookAt - this.#now(), this.#untilClaim());
  }

  #untilClaim(): number {
    const { concurrency, availableInMs } = this.#options;
    const untilDue = this.#mayBeMoreDue ? 0 : Math.min(this.#dueAt, this.#sweepAt) - this.#now();
    const unavailableForMs = availableInMs();
    // A slot that becomes free wakes us.
    const isFull =
      this.#running.size >= concurrency || (unavailableForMs === 0 && this.#freeSlots() <= 0);
    return isFull ? Number.POSITIVE_INFINITY : Math.max(untilDue, unavailableForMs);
  }

  /** Sleeps until the time is up, or somebody wakes the loop. */
  async #sleep(ms: number): Promise<void> {
    if (ms <= 0) {
      await new Promise((resolve) => setImmediate(resolve));
      return;
    }
    if (this.#stopping.signal.aborted) return;
    const { clock, sweepIntervalMs } = this.#options;
    const awake = new AbortController();
    this.#alarm = () => awake.abort();
    await sleep(clock, Math.min(ms, sweepIntervalMs), awake.signal);
    this.#alarm = null;
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
