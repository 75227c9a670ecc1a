/**
 * Claims that are given back unworked, so that others may have the accounts at once. Where the database does not answer, it is tried
 * again: an account is not left to the end of its lease because sessions were cut.
 */
import type { Clock } from "../clock.ts";
import { isClosed } from "../db/error-code.ts";
import { retryWhileAway } from "../db/retry-while-away.ts";
import type { Claim } from "./queue.ts";

export interface GiveBackOptions {
  readonly clock: Clock;
  /** After this the lease has run out by itself. */
  readonly leaseMs: number;
  readonly release: (claims: readonly Claim[]) => Promise<void>;
  readonly onTrouble: (error: unknown) => void;
  /** The accounts may be claimed again. */
  readonly onReleased: () => void;
}

export class GiveBack {
  readonly #options: GiveBackOptions;
  readonly #underWay = new Set<Promise<void>>();
  readonly #leaving = new AbortController();

  constructor(options: GiveBackOptions) {
    this.#options = options;
  }

  /** Not to be waited for: a slot would be taken until the database answers. */
  start(claims: readonly Claim[]): void {
    if (claims.length === 0) return;
    const done = this.#release(claims).finally(() => this.#underWay.delete(done));
    this.#underWay.add(done);
  }

  async #release(claims: readonly Claim[]): Promise<void> {
    const { clock, leaseMs, release, onTrouble, onReleased } = this.#options;
    const expired = new AbortController();
    const callOff = clock.after(leaseMs, () => expired.abort());
    const retry = {
      clock,
      signal: AbortSignal.any([expired.signal, this.#leaving.signal]),
      onTrouble,
      mayPass: (error: unknown) => !isClosed(error),
    };
    try {
      await retryWhileAway(retry, () => release(claims));
      onReleased();
    } catch {
      // The last of the errors that were told: the lease has run out, or the process leaves, and another one takes over.
    } finally {
      callOff();
    }
  }

  /** Resolves when everything is given back, or given up. */
  async allDone(): Promise<void> {
    await Promise.all(this.#underWay);
  }

  /** The process leaves: nothing is tried again. */
  leave(): void {
    this.#leaving.abort();
  }
}
