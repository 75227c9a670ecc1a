/**
 * When the triggers shall NOTIFY, and when to look without being told. It works like a network card that switches between
 * interrupts and polling:
 *
 *     lying down ──no transaction left that may not have seen the bell──▶ resting
 *         ▲                                                                 │
 *         └──────── a second of quiet ──────── awake ◀──── 100 wakes a second
 *
 * Resting: the triggers ring (a NOTIFY costs a commit lock that every other commit waits for, so only now), we look at every sweep.
 * Awake: the bell is off, writers pay nothing, and we look every 5 to 20 ms.
 * Lying down: the bell is on again, but a transaction that read "off" may commit after our last look. So we keep looking, ever
 * more slowly, until every transaction that was writing at the flip has ended. With this wait no change stayed longer than
 * 0.3 s; without it most of them stayed until the next sweep. One case is left to the sweep: an application's transaction in
 * REPEATABLE READ that took its snapshot before the flip and wrote nothing until after it. It reads "off" however late it writes, and
 * has no transaction id that we could have waited for.
 *
 * The wish to be rung expires by itself, so that writers stop paying when the last daemon dies. Renewing it may turn the bell on: the
 * wish ran out while we could not renew it, or a replica that got up and died has cleared it. So a renewal is a lying down too.
 */
import type { Queryable } from "../db/database.ts";

export interface DoorbellOptions {
  readonly db: Queryable;
  /** `auto`: as above. `always`: every captured statement rings. `off`: nothing rings, sweeps only. */
  readonly notify: "auto" | "always" | "off";
  readonly sweepIntervalMs: number;
  /** Monotonic milliseconds. */
  readonly now: () => number;
}

const WANTED_FOR_MS = 30_000;
const RENEW_EVERY_MS = 10_000;
const WAKES_PER_SECOND_TO_GET_UP = 100;
const QUIET_MS_TO_LIE_DOWN = 1_000;
const AWAKE_LOOK_MS = { busy: 5, quiet: 20 };
const LYING_DOWN_FIRST_LOOK_MS = 20;

export class Doorbell {
  readonly #options: DoorbellOptions;
  #state: State = { name: "off duty" };
  #wakes = 0;
  #countingSince = 0;

  constructor(options: DoorbellOptions) {
    this.#options = options;
  }

  /** A notification came in. */
  heard(): void {
    const now = this.#options.now();
    if (now - this.#countingSince > 1_000) {
      this.#countingSince = now;
      this.#wakes = 0;
    }
    this.#wakes += 1;
  }

  /**
   * Called after every look at the change table. Resolves with the milliseconds after which to look again unasked.
   *
   * @param found whether the look found changes
   */
  async afterLook(found: boolean): Promise<number> {
    const { notify, sweepIntervalMs, now } = this.#options;
    const state = this.#state;
    switch (state.name) {
      case "off duty":
        if (notify !== "auto") {
          await this.#set(notify === "always" ? "infinity" : "-infinity");
          this.#state = { name: "fixed" };
          return sweepIntervalMs;
        }
        return await this.#lieDown();

      case "fixed":
        return sweepIntervalMs;

      case "awake":
        if (found) state.quietSince = now();
        if (now() - state.quietSince >= QUIET_MS_TO_LIE_DOWN) return await this.#lieDown();
        return found ? AWAKE_LOOK_MS.busy : AWAKE_LOOK_MS.quiet;

      case "lying down":
        if (this.#isBusy()) return await this.#getUp();
        if (state.isLastLook) {
          this.#state = { name: "resting", renewedAt: state.renewedAt };
          return Math.min(sweepIntervalMs, RENEW_EVERY_MS);
        }
        // The horizon is asked before the look that counts: what committed in between is found by that look.
        state.isLastLook = await this.#hasPassed(state.horizon);
        if (state.isLastLook) return 0;
        state.lookEveryMs = Math.min(state.lookEveryMs * 2, sweepIntervalMs, RENEW_EVERY_MS);
        if (this.#isTimeToRenew(state)) return await this.#lieDown(state.lookEveryMs);
        return state.lookEveryMs;

      case "resting":
        if (this.#isBusy()) return await this.#getUp();
        if (this.#isTimeToRenew(state)) return await this.#lieDown();
        return Math.min(sweepIntervalMs, RENEW_EVERY_MS);

      default:
        return state satisfies never;
    }
  }

  async #lieDown(lookEveryMs = LYING_DOWN_FIRST_LOOK_MS): Promise<number> {
    const renewedAt = this.#options.now();
    await this.#options.db.run("rest_at_the_doorbell", [WANTED_FOR_MS]);
    const [row] = await this.#options.db.run<{ horizon: string }>("doorbell_horizon");
    if (row === undefined) throw new Error("doorbell_horizon returned no row");
    this.#state = {
      name: "lying down",
      horizon: row.horizon,
      lookEveryMs,
      isLastLook: false,
      renewedAt,
    };
    return lookEveryMs;
  }

  async #getUp(): Promise<number> {
    await this.#set("-infinity");
    this.#state = { name: "awake", quietSince: this.#options.now() };
    return AWAKE_LOOK_MS.busy;
  }

  #isTimeToRenew(state: { readonly renewedAt: number }): boolean {
    return this.#options.now() - state.renewedAt >= RENEW_EVERY_MS;
  }

  async #hasPassed(horizon: string): Promise<boolean> {
    const [row] = await this.#options.db.run<{ passed: boolean }>("doorbell_horizon_passed", [
      horizon,
    ]);
    return row?.passed ?? false;
  }

  async #set(until: "infinity" | "-infinity"): Promise<void> {
    await this.#options.db.run("set_doorbell", [until]);
  }

  #isBusy(): boolean {
    return (
      this.#options.now() - this.#countingSince <= 1_000 && this.#wakes > WAKES_PER_SECOND_TO_GET_UP
    );
  }
}

type State =
  | { readonly name: "off duty" }
  | { readonly name: "fixed" }
  | { readonly name: "awake"; quietSince: number }
  | {
      readonly name: "lying down";
      readonly horizon: string;
      lookEveryMs: number;
      isLastLook: boolean;
      readonly renewedAt: number;
    }
  | { readonly name: "resting"; readonly renewedAt: number };
