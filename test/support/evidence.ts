/**
 * What the tests of the fault matrix found out, as figures: JSON lines, appended to a file that `npm run guarantees` turns into the
 * tables of docs/guarantees.md. Writes nothing unless FAULT_EVIDENCE names the file, so that an
 * ordinary run leaves no trace.
 */
import { appendFileSync } from "node:fs";
import { relative } from "node:path";
import { expect } from "vitest";

export interface FaultEvidence {
  /** As the matrix numbers it, `F1` … `F40`; `convergence` where faults of all parts meet and none is told from the others. */
  readonly fault: string;
  /** How often the fault was brought about. */
  readonly tries: number;
  /** Changes that neither arrived nor wait visibly with a reason. */
  readonly lost: number;
  /** Customers at the API beyond one per account. */
  readonly twins: number;
  /** The longest time from the end of the fault until all was well again; null where nothing has to recover. */
  readonly recoveryMs: number | null;
}

export interface RecordedEvidence extends FaultEvidence {
  readonly test: string;
  readonly file: string;
}

/** How quickly something is noticed or well again, held against what is promised. */
export interface SpeedEvidence {
  /** Such as `a dead daemon's accounts taken over by another one`. */
  readonly what: string;
  readonly ms: number;
  readonly withinMs: number;
}

export interface RecordedSpeed extends SpeedEvidence {
  readonly test: string;
  readonly file: string;
}

export function recordFault(evidence: FaultEvidence): void {
  const { recoveryMs } = evidence;
  record({ ...evidence, recoveryMs: recoveryMs === null ? null : Math.round(recoveryMs) });
}

/** The test itself asserts the bound. */
export function recordSpeed(evidence: SpeedEvidence): void {
  record({ ...evidence, ms: Math.round(evidence.ms) });
}

/** Also prints the figures, so that a run shows what it measured. */
function record(evidence: FaultEvidence | SpeedEvidence): void {
  const { currentTestName = "", testPath = "" } = expect.getState();
  const line = JSON.stringify({
    ...evidence,
    test: currentTestName,
    file: relative(process.cwd(), testPath),
  } satisfies RecordedEvidence | RecordedSpeed);
  process.stdout.write(`${line}\n`);
  const file = process.env["FAULT_EVIDENCE"];
  if (file !== undefined) appendFileSync(file, `${line}\n`);
}
