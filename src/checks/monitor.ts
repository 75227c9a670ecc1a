/**
 * The monitor: runs all checks before a start claims anything, and again every hour. While something is wrong, or could not be checked, it
 * runs them every minute, so that a repair is noticed soon.
 */
import { isContention, isOutage } from "../db/error-code.ts";
import type { Diagnosis } from "../operator-error.ts";
import { type CheckContext, lookAt, unchecked } from "./check.ts";
import { CHECKS } from "./list.ts";
import { CHECK_EFFECTS, type CheckName } from "./names.ts";
import { toRefusal } from "./refusal.ts";

export interface MonitorOptions {
  readonly context: CheckContext;
  readonly onChecked: (name: CheckName, findings: readonly Diagnosis[]) => void;
  /** The database did not answer: the findings stay as they are. */
  readonly onTrouble: (error: unknown) => void;
  /** Default an hour. */
  readonly everyMs?: number | undefined;
}

const HOUR_MS = 3_600_000;
const AGAIN_MS = 60_000;

export class Monitor {
  readonly #options: MonitorOptions;
  readonly #everyMs: number;
  readonly #found = new Map<CheckName, readonly Diagnosis[]>();
  #timer: NodeJS.Timeout | undefined;
  #stopped = false;

  constructor(options: MonitorOptions) {
    this.#options = options;
    this.#everyMs = options.everyMs ?? HOUR_MS;
  }

  /** @throws OperatorError that lists everything a daemon must not start on; the database's error when it does not answer */
  async start(): Promise<void> {
    const { isComplete, outage } = await this.#look();
    const refusal = toRefusal(this.#found);
    if (refusal !== null) throw refusal;
    // A table that is locked just now does not refuse a start: what could not be checked is checked again in a minute.
    if (outage !== null) throw outage;
    this.#lookLater(isComplete);
  }

  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
  }

  /** Why a start would be refused now. */
  reasons(): string[] {
    return [...this.#found]
      .filter(([name]) => CHECK_EFFECTS[name] === "stops")
      .flatMap(([name, findings]) => findings.map(({ problem }) => `${name}: ${problem}`));
  }

  /** What a check found when it was run last. */
  findings(name: CheckName): readonly Diagnosis[] {
    return this.#found.get(name) ?? [];
  }

  #lookLater(isComplete: boolean): void {
    if (this.#stopped) return;
    const isWell = [...this.#found].every(
      ([name, findings]) => CHECK_EFFECTS[name] === "warns" || findings.length === 0,
    );
    const waitMs = isWell && isComplete ? this.#everyMs : Math.min(this.#everyMs, AGAIN_MS);
    this.#timer = setTimeout(
      () => void this.#look().then((look) => this.#lookLater(look.isComplete)),
      waitMs,
    );
    // The timer does not keep the process running.
    this.#timer.unref();
  }

  async #look(): Promise<CheckRound> {
    let isComplete = true;
    // One after the other: nothing waits for the result, and the pool is for the syncs.
    for (const check of CHECKS) {
      const result = await lookAt(check, this.#options.context);
      if (this.#stopped) break;
      if ("findings" in result) {
        this.#found.set(check.name, result.findings);
        this.#options.onChecked(check.name, result.findings);
        continue;
      }

      const { error } = result;
      isComplete = false;
      if (isOutage(error) || isContention(error)) this.#options.onTrouble(error);
      else this.#options.onChecked(check.name, [unchecked(error)]);
      // The others would not be answered either.
      if (isOutage(error)) return { isComplete, outage: error };
    }
    return { isComplete, outage: null };
  }
}

interface CheckRound {
  /** False: something could not be checked. */
  readonly isComplete: boolean;
  readonly outage: unknown;
}
