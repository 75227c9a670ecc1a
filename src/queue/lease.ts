/** The right to bring one account to its outcome, for as long as it lasts. */
import type { Clock } from "../clock.ts";

export interface Lease {
  /** Aborted when another process has, or may have, the account, and when the process must leave. */
  readonly signal: AbortSignal;
  /** Aborted when the process must leave: nothing that was begun is waited for any longer. */
  readonly leaving: AbortSignal;
  /** What `signal` says, without its delay: after a pause of the process the clock is right before any timer has fired. */
  isHeld(): boolean;
  /** Whether a send that has not begun may wait for others to end: not while the process drains, as another one may have the account at once. */
  mayWait(): boolean;
  /** Whether a request that takes so long ends before the process leaves. */
  hasTimeFor(ms: number): boolean;
  /** Does what cannot be asked for again. A process that is to leave waits longer for it than for the rest. */
  waitFor<T>(work: () => Promise<T>): Promise<T>;
}

/** A lease that lasts from renewal to renewal. */
export class RenewedLease implements Lease {
  readonly #clock: Pick<Clock, "now" | "after">;
  readonly #silenceMs: number;
  readonly #lost = new AbortController();
  readonly #leaving = new AbortController();
  #heldUntil = 0;
  #isDraining = false;
  #leavesAt = Number.POSITIVE_INFINITY;
  #isWaitedFor = false;
  #callOffExpiry = () => {};

  /**
   * @param silenceMs without a renewal for so long, another process may have the account (src/queue/liveness.ts)
   * @param elapsedMs since it was asked for: that is when it began
   */
  constructor(clock: Pick<Clock, "now" | "after">, silenceMs: number, elapsedMs: number) {
    this.#clock = clock;
    this.#silenceMs = silenceMs;
    this.renewed(elapsedMs);
  }

  get signal(): AbortSignal {
    return this.#lost.signal;
  }

  get leaving(): AbortSignal {
    return this.#leaving.signal;
  }

  isHeld(): boolean {
    return !this.#lost.signal.aborted && this.#clock.now() < this.#heldUntil;
  }

  mayWait(): boolean {
    return !this.#isDraining;
  }

  hasTimeFor(ms: number): boolean {
    return this.#clock.now() + ms <= this.#leavesAt;
  }

  async waitFor<T>(work: () => Promise<T>): Promise<T> {
    this.#isWaitedFor = true;
    try {
      return await work();
    } finally {
      this.#isWaitedFor = false;
    }
  }

  get isWaitedFor(): boolean {
    return this.#isWaitedFor;
  }

  /** The process drains. */
  drain(): void {
    this.#isDraining = true;
  }

  /** It leaves after so long at the latest. */
  leaveWithin(ms: number): void {
    this.#leavesAt = this.#clock.now() + ms;
  }

  renewed(elapsedMs: number): void {
    this.#callOffExpiry();
    const leftMs = Math.max(0, this.#silenceMs - elapsedMs);
    this.#heldUntil = this.#clock.now() + leftMs;
    this.#callOffExpiry = this.#clock.after(leftMs, () => this.lose());
  }

  lose(): void {
    this.#lost.abort(new Error("the lease was lost"));
  }

  leave(): void {
    const reason = new Error("the process is shutting down");
    this.#lost.abort(reason);
    this.#leaving.abort(reason);
  }

  /** The work is done: nothing expires any more. */
  close(): void {
    this.#callOffExpiry();
  }
}
