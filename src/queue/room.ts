/**
 * How many accounts a dispatcher may take up now.
 *
 * More are at work than requests are in flight (request-slots.ts): they are loaded and journaled in front of the requests and settled
 * behind them, in batches, and no request waits for that. As many more as come to their end while a batch goes through all of that, and no
 * more, so that what is sent is hardly older than the request.
 *
 * While only a probe would get through to the API, one account is taken up for it. What has been at work since before does not count then.
 */
import type { Clock } from "../clock.ts";
import { PACE_WINDOW_MS, Pace } from "./pace.ts";

/** What the API takes at present. */
export interface Capacity {
  /** Milliseconds until the API may be sent to, 0 for now. While it is not, nothing is claimed. */
  availableInMs(): number;
  /** How many sends make sense now: one where only a probe would get through. */
  usefulSends(): number;
}

/** For callers that wait: they are told that the API is away, instead of waiting until it is back. */
export const UNLIMITED: Capacity = {
  availableInMs: () => 0,
  usefulSends: () => Number.POSITIVE_INFINITY,
};

/** Claimed, loaded and journaled ahead, settled behind: about so long at full speed, beside the request itself. */
const BESIDE_REQUEST_MS = 150;
/** Beside the requests in flight: their data are in memory, and settling them takes a second when the database is slow. */
const BESIDE_REQUEST_MAX = 480;
/** While more is due, so many are claimed in one statement rather than one for each that ends. */
const BATCH_SHARE = 0.25;

export class Room {
  readonly #concurrency: number;
  readonly #capacity: Capacity;
  readonly #ended: Pace;
  #taken = 0;
  #probes = 0;

  constructor(options: {
    readonly clock: Clock;
    readonly concurrency: number;
    readonly capacity: Capacity;
  }) {
    this.#concurrency = options.concurrency;
    this.#capacity = options.capacity;
    this.#ended = new Pace(options.clock);
  }

  /** An account is taken up. Returns what to call when it has come to its end. */
  take(): () => void {
    const isProbe = this.#isProbing();
    this.#taken += 1;
    if (isProbe) this.#probes += 1;
    return () => {
      this.#taken -= 1;
      if (isProbe) this.#probes -= 1;
      this.#ended.count();
    };
  }

  free(): number {
    return Math.min(this.#max() - this.#taken, this.#capacity.usefulSends() - this.#probes);
  }

  /** Whether a claim is worth its statement. Probes are taken one by one. */
  hasFreeBatch(): boolean {
    return this.free() >= (this.#isProbing() ? 1 : Math.ceil(this.#max() * BATCH_SHARE));
  }

  #isProbing(): boolean {
    return Number.isFinite(this.#capacity.usefulSends());
  }

  #max(): number {
    const paced = Math.floor((this.#ended.lately() * BESIDE_REQUEST_MS) / PACE_WINDOW_MS);
    const beside = Math.max(paced, Math.ceil(this.#concurrency / 2));
    return this.#concurrency + Math.min(beside, BESIDE_REQUEST_MAX);
  }
}
