/** How fast something goes: how often it happened in the last tenth of a second. */
import type { Clock } from "../clock.ts";

export const PACE_WINDOW_MS = 100;

export class Pace {
  readonly #clock: Pick<Clock, "now">;
  #windowEndsAt = Number.NEGATIVE_INFINITY;
  #inWindow = 0;
  #inWindowBefore = 0;

  constructor(clock: Pick<Clock, "now">) {
    this.#clock = clock;
  }

  count(): void {
    this.#move();
    this.#inWindow += 1;
  }

  /** In the last whole window, or in the one that is not over if that has more already. */
  lately(): number {
    this.#move();
    return Math.max(this.#inWindow, this.#inWindowBefore);
  }

  #move(): void {
    const now = this.#clock.now();
    if (now < this.#windowEndsAt) return;
    const isNext = now < this.#windowEndsAt + PACE_WINDOW_MS;
    this.#inWindowBefore = isNext ? this.#inWindow : 0;
    this.#inWindow = 0;
    this.#windowEndsAt = now + PACE_WINDOW_MS;
  }
}
