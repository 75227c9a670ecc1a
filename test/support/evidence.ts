/**
 * What the tests of the fault matrix found, as figures: JSON lines, appended to the file that FAULT_EVIDENCE names and printed.
 * `npm run guarantees` keeps them in test/evidence/last-run.jsonl and makes the tables of docs/guarantees.md from them.
 */
import { appendFileSync } from "node:fs";
import { relative } from "node:path";
import { expect } from "vitest";
import { isVerdict, type Verdict } from "./verdict.ts";

/** What a test measures itself; all other figures come from the judge. */
export interface FaultTrial {
  /** How often the fault was brought about. */
  readonly tries: number;
  /** The longest time from the end of the fault until everything had recovered; null where nothing has to recover. */
  readonly recoveryMs: number | null;
}

export interface RecordedFault extends FaultTrial {
  /** As numbered in the matrix, `F1` …; `convergence` where faults of all parts meet. */
  readonly fault: string;
  /** Changes that neither arrived nor wait where the fault explains it. */
  readonly lost: number;
  /** Accounts with more than one customer, and customers without an account. */
  readonly twins: number;
  /** Rows with an id that was not given out for them, or without the one that was. */
  readonly wrongIds: number;
  /** Requests that overlapped with another one for the same account. */
  readonly overlapping: number;
  /** Accounts that the fault leaves waiting, or otherwise than they were, by reason. */
  readonly explained: Readonly<Record<string, number>>;
  readonly test: string;
  readonly file: string;
}

/** How quickly something is noticed or has recovered, and the promise. */
export interface SpeedTrial {
  /** Such as `a dead daemon's accounts taken over by another one`. */
  readonly what: string;
  readonly ms: number;
  readonly withinMs: number;
}

export interface RecordedSpeed extends SpeedTrial {
  readonly test: string;
  readonly file: string;
}

/** Several verdicts where the fault was tried on several databases; their figures add up. */
export function recordFault(
  fault: string,
  verdicts: Verdict | readonly Verdict[],
  { tries, recoveryMs }: FaultTrial,
): void {
  const all = [verdicts].flat();
  if (all.length === 0 || !all.every(isVerdict))
    throw new Error(`the figures of ${fault} do not come from the judge (test/support/verdict.ts)`);
  const sum = (of: (verdict: Verdict) => number) =>
    all.reduce((total, verdict) => total + of(verdict), 0);
  record({
    fault,
    tries,
    lost: sum(({ lost, unexplained }) => lost.length + unexplained.length),
    twins: sum(({ twins, strays }) => twins.length + strays.length),
    wrongIds: sum(
      ({ wrongIds, lostIds, overwritten }) => wrongIds.length + lostIds.length + overwritten.length,
    ),
    overlapping: sum(({ overlapping }) => overlapping),
    explained: addUp(all),
    recoveryMs: recoveryMs === null ? null : Math.round(recoveryMs),
  });
}

/** The test itself asserts the bound. */
export function recordSpeed({ what, ms, withinMs }: SpeedTrial): void {
  record({ what, ms: Math.round(ms), withinMs });
}

function addUp(verdicts: readonly Verdict[]): Record<string, number> {
  const sums: Record<string, number> = {};
  for (const { explained } of verdicts)
    for (const [reason, count] of Object.entries(explained))
      sums[reason] = (sums[reason] ?? 0) + count;
  return sums;
}

function record(figures: Omit<RecordedFault | RecordedSpeed, "test" | "file">): void {
  const { currentTestName = "", testPath = "" } = expect.getState();
  const line = JSON.stringify({
    ...figures,
    test: currentTestName,
    file: relative(process.cwd(), testPath),
  });
  process.stdout.write(`${line}\n`);
  const file = process.env["FAULT_EVIDENCE"];
  if (file !== undefined) appendFileSync(file, `${line}\n`);
}
