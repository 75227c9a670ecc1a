/**
 * The checks of one process: before a start claims anything, and again every hour. While something is wrong, or could not be found
 * out, it looks again every minute, so that a repair is noticed soon.
 *
 * A finding is said when it appears and when it is gone. Ready means: a start would succeed now.
 */
import { isContention, isOutage } from "../db/database.ts";
import { explained } from "../db/explained.ts";
import { type Diagnosis, OperatorError } from "../operator-error.ts";
import type { Check, CheckContext } from "./check.ts";
import { CHECKS } from "./list.ts";
import { CHECK_EFFECTS, type CheckName } from "./names.ts";

export interface MonitorOptions {
  readonly context: CheckContext;
  readonly onChecked: (name: CheckName, findings: readonly Diagnosis[]) => void;
  /** The database did not answer: what is known stays as it is. */
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
    // Somebody who holds a table just now is no reason: what could not be looked at is looked at in a minute.
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
    // Looking is no reason to stay.
    this.#timer.unref();
  }

  async #look(): Promise<Look> {
    let isComplete = true;
    // One after the other: nobody waits for it, and the pool is for the syncs.
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
      // The others would meet the same silence.
      if (isOutage(error)) return { isComplete, outage: error };
    }
    return { isComplete, outage: null };
  }
}

interface Look {
  /** False: something could not be found out. */
  readonly isComplete: boolean;
  readonly outage: unknown;
}

export async function lookAt(
  { look }: Pick<Check, "look">,
  context: CheckContext,
): Promise<{ readonly findings: readonly Diagnosis[] } | { readonly error: unknown }> {
  try {
    return { findings: await look(context) };
  } catch (error) {
    return { error };
  }
}

/** A check that cannot be run counts as a finding of its own. */
export function unchecked(error: unknown, url = ""): Diagnosis {
  const reason = explained(error, url);
  if (reason instanceof OperatorError) {
    return { problem: `It could not be checked. ${reason.message}`, remedy: reason.hint };
  }
  const { name, code } =
    error instanceof Error ? (error as NodeJS.ErrnoException) : { name: typeof error };
  return {
    problem: `It could not be checked (${code ?? name}).`,
    remedy: "Look into the log of the database server for what it refused.",
  };
}

/**
 * For a migrate that failed: everything that had to be as it is not, instead of the first thing it met. Null when the checks know no
 * better.
 */
export async function findRefusal(context: CheckContext): Promise<OperatorError | null> {
  const found = new Map<CheckName, readonly Diagnosis[]>();
  for (const check of CHECKS) {
    // What migrate itself would have brought.
    if (check.name === "schema_version" || check.name === "triggers") continue;
    const result = await lookAt(check, context);
    if ("findings" in result) found.set(check.name, result.findings);
  }
  return toRefusal(found);
}

function toRefusal(found: ReadonlyMap<CheckName, readonly Diagnosis[]>): OperatorError | null {
  const stopping = [...found]
    .filter(([name]) => CHECK_EFFECTS[name] === "stops")
    .flatMap(([, findings]) => findings);
  if (stopping.length === 0) return null;
  const lines = stopping.flatMap(({ problem, remedy }) => [`  ${problem}`, `      ${remedy}`]);
  return new OperatorError(
    `Changes would be lost or harm done, so account-sync does not start:\n${lines.join("\n")}`,
    { hint: "`account-sync doctor` checks all of it again without starting." },
  );
}
