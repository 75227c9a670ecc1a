/**
 * When the triggers NOTIFY, and when to look without being notified. It works like a network card that switches between interrupts and
 * polling:
 *
 *     coming to rest ──no transaction left that may not have seen the bell──▶ at rest
 *         ▲                                                                      │
 *         └──────────── a second of quiet ──────── awake ◀──────── many wakes
 *
 * At rest: the triggers ring (a NOTIFY costs a commit lock that every other commit waits for, so only now), and a sweep looks.
 * Awake: the bell is off, writers pay nothing, and looks come so often that a change is found long before its quiet period has passed.
 * Coming to rest: the bell is on again, but a transaction that read "off" may commit after the last look. So looks go on, ever more
 * slowly, until every transaction that was writing at the switch has ended. With this wait no change stayed longer than 0.3 s; without it
 * most of them stayed until the next sweep. The triggers read a sequence that follows our row, and not the row: an application's transaction
 * in REPEATABLE READ that took its snapshot before the switch would read "off" in the row however late it writes, and has no transaction id
 * that could have been waited for.
 *
 * The bell is wanted for a limited time, so that writers stop paying when the last daemon dies. Renewing that may turn the bell on: it ran
 * out while it could not be renewed, or a replica that woke up and died has cleared it. So a renewal is a coming to rest, too.
 */
import type { Queryable } from "../db/database.ts";

export interface DoorbellOptions {
  readonly db: Queryable;
  /** `auto`: as above. `always`: every captured statement rings. `off`: nothing rings, sweeps only. */
  readonly notify: "auto" | "always" | "off";
  /** So long after a change its account falls due at the earliest. */
  readonly quietPeriodMs: number;
  readonly sweepIntervalMs: number;
  /** Monotonic milliseconds. */
  readonly now: () => number;
}

const WANTED_FOR_MS = 30_000;
const RENEW_EVERY_MS = 10_000;
/**
 * A second of more wakes than that, or than looks when awake, is a second of many. Commits that notify are flushed one after the other: where
 * a flush takes 10 ms, there are never more than a hundred a second to hear.
 */
const WAKES_PER_SECOND_MAX = 50;
const QUIET_MS_TO_REST = 1_000;
/**
 * When an account falls due is counted from its change, however late that is folded: looking after a twentieth of the quiet period delays
 * nothing, and hundreds of changes are folded for half of what they cost by tens.
 */
const AWAKE_LOOKS_PER_QUIET_PERIOD = 20;
const AWAKE_LOOK_MS = { min: 5, max: 100 };
const AWAKE_LOOK_MS_WITHOUT_CHANGES = 20;
const COMING_TO_REST_FIRST_LOOK_MS = 20;

export class Doorbell {
  readonly #options: DoorbellOptions;
  #state: State = { name: "not started" };
  #wakes = 0;
  #countingSince = 0;
  readonly #awakeLookMs: number;
  readonly #wakesPerSecondMax: number;

  constructor(options: DoorbellOptions) {
    this.#options = options;
    const { min, max } = AWAKE_LOOK_MS;
    const share = options.quietPeriodMs / AWAKE_LOOKS_PER_QUIET_PERIOD;
    this.#awakeLookMs = Math.min(Math.max(share, min), max);
    this.#wakesPerSecondMax = Math.min(WAKES_PER_SECOND_MAX, 1_000 / this.#awakeLookMs);
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
      case "not started":
        if (notify !== "auto") {
          await this.#set(notify === "always" ? "infinity" : "-infinity");
          this.#state = { name: "fixed" };
          return sweepIntervalMs;
        }
        return await this.#comeToRest();

      case "fixed":
        return sweepIntervalMs;

      case "awake":
        if (found) state.quietSince = now();
        if (now() - state.quietSince >= QUIET_MS_TO_REST) return await this.#comeToRest();
        return found
          ? this.#awakeLookMs
          : Math.max(this.#awakeLookMs, AWAKE_LOOK_MS_WITHOUT_CHANGES);

      case "coming to rest":
        if (this.#isBusy()) return await this.#wakeUp();
        if (state.isLastLook) {
          this.#state = { name: "at rest", renewedAt: state.renewedAt };
          return Math.min(sweepIntervalMs, RENEW_EVERY_MS);
        }
        // The horizon is asked before the look that counts: what committed in between is found by that look.
        state.isLastLook = await this.#hasPassed(state.horizon);
        if (state.isLastLook) return 0;
        state.lookEveryMs = Math.min(state.lookEveryMs * 2, sweepIntervalMs, RENEW_EVERY_MS);
        if (this.#isTimeToRenew(state)) return await this.#comeToRest(state.lookEveryMs);
        return state.lookEveryMs;

      case "at rest":
        if (this.#isBusy()) return await this.#wakeUp();
        if (this.#isTimeToRenew(state)) return await this.#comeToRest();
        return Math.min(sweepIntervalMs, RENEW_EVERY_MS);

      default:
        return state satisfies never;
    }
  }

  async #comeToRest(lookEveryMs = COMING_TO_REST_FIRST_LOOK_MS): Promise<number> {
    const renewedAt = this.#options.now();
    await this.#options.db.run("want_doorbell", [WANTED_FOR_MS]);
    const [row] = await this.#options.db.run<{ horizon: string }>("doorbell_horizon");
    if (row === undefined) throw new Error("doorbell_horizon returned no row");
    this.#state = {
      name: "coming to rest",
      horizon: row.horizon,
      lookEveryMs,
      isLastLook: false,
      renewedAt,
    };
    return lookEveryMs;
  }

  async #wakeUp(): Promise<number> {
    await this.#set("-infinity");
    this.#state = { name: "awake", quietSince: this.#options.now() };
    return this.#awakeLookMs;
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
      this.#options.now() - this.#countingSince <= 1_000 && this.#wakes > this.#wakesPerSecondMax
    );
  }
}

type State =
  | { readonly name: "not started" }
  | { readonly name: "fixed" }
  | { readonly name: "awake"; quietSince: number }
  | {
      readonly name: "coming to rest";
      readonly horizon: string;
      lookEveryMs: number;
      isLastLook: boolean;
      readonly renewedAt: number;
    }
  | { readonly name: "at rest"; readonly renewedAt: number };
