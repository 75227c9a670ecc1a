/**
 * The requests in flight: SYNC_CONCURRENCY at a time. Accounts at work are more (room.ts), so that the database never keeps a request
 * waiting:
 *
 *     claimed ─▶ loaded ─▶ validated ─▶ admitted ─▶ journaled ─▶ in flight ─▶ settled
 *                                       └─ some more than slots ─┘  └ slots ┘
 *
 * A send that is journaled and has not gone out is in doubt after a crash, like one that has: so only as many are admitted to the journal as
 * the slots take in a moment. They are admitted in groups: one transaction journals a group.
 */
import type { Clock } from "../clock.ts";
import type { Lease } from "./lease.ts";
import { PACE_WINDOW_MS, Pace } from "./pace.ts";

/** Journaling takes about so long: what goes out meanwhile has to be journaled before. */
const JOURNALED_AHEAD_MS = 25;

interface WaitingSend {
  readonly lease: Pick<Lease, "mayWait">;
  readonly end: (isAdmitted: boolean) => void;
}

export class RequestSlots {
  readonly #concurrency: number;
  readonly #pace: Pace;
  #admitted = 0;
  #inFlight = 0;
  #waitingForAdmission: WaitingSend[] = [];
  readonly #waitingForSlot: (() => void)[] = [];

  constructor(concurrency: number, clock: Pick<Clock, "now">) {
    this.#concurrency = concurrency;
    this.#pace = new Pace(clock);
  }

  /**
   * Does `work`, which journals a send and makes its request, or makes another request, when there is room for it. Resolves null when it
   * would have to wait and may not, because its process drains.
   */
  async admit<Result>(
    lease: Pick<Lease, "mayWait">,
    work: () => Promise<Result>,
  ): Promise<Result | null> {
    if (!(await this.#enter(lease))) return null;
    try {
      return await work();
    } finally {
      this.#leave();
    }
  }

  /** Makes one request, when a slot is free for it. */
  async use<Result>(request: () => Promise<Result>): Promise<Result> {
    if (this.#inFlight < this.#concurrency) this.#inFlight += 1;
    // The slot is handed over.
    else await new Promise<void>((resolve) => this.#waitingForSlot.push(resolve));
    this.#pace.count();
    try {
      return await request();
    } finally {
      const next = this.#waitingForSlot.shift();
      if (next === undefined) this.#inFlight -= 1;
      else next();
    }
  }

  /** What waits for its admission and may not any more is left to others. */
  refuseWaiting(): void {
    const waiting = this.#waitingForAdmission;
    this.#waitingForAdmission = waiting.filter(({ lease }) => lease.mayWait());
    for (const { lease, end } of waiting) if (!lease.mayWait()) end(false);
  }

  async #enter(lease: Pick<Lease, "mayWait">): Promise<boolean> {
    if (this.#waitingForAdmission.length === 0 && this.#room() > 0) {
      this.#admitted += 1;
      return true;
    }
    if (!lease.mayWait()) return false;
    return await new Promise((end) => this.#waitingForAdmission.push({ lease, end }));
  }

  #leave(): void {
    this.#admitted -= 1;
    if (this.#room() < this.#groupSize()) return;
    for (const { end } of this.#waitingForAdmission.splice(0, this.#room())) {
      this.#admitted += 1;
      end(true);
    }
  }

  #room(): number {
    return this.#concurrency + this.#aheadMax() - this.#admitted;
  }

  #aheadMax(): number {
    const paced = (this.#pace.lately() * JOURNALED_AHEAD_MS) / PACE_WINDOW_MS;
    return Math.ceil(Math.max(this.#concurrency / 2, paced));
  }

  #groupSize(): number {
    return Math.ceil(this.#aheadMax() / 2);
  }
}
