/**
 * What the tests of the fault matrix found out, as figures: one JSON line per fault and run, appended to a file that
 * `npm run guarantees` turns into the table of docs/guarantees.md. Writes nothing unless FAULT_EVIDENCE names the file, so that an
 * ordinary run leaves no trace.
 */
import { appendFileSync } from "node:fs";
import { relative } from "node:path";
import { expect } from "vitest";

export interface FaultEvidence {
  /** As the matrix numbers it: `F1` … `F40`. */
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

/** Also prints the figures, so that a run shows what it measured. */
export function recordFault(evidence: FaultEvidence): void {
  const { currentTestName = "", testPath = "" } = expect.getState();
  const recorded: RecordedEvidence = {
    ...evidence,
    recoveryMs: evidence.recoveryMs === null ? null : Math.round(evidence.recoveryMs),
    test: currentTestName,
    file: relative(process.cwd(), testPath),
  };
  process.stdout.write(`${JSON.stringify(recorded)}\n`);
  const file = process.env["FAULT_EVIDENCE"];
  if (file !== undefined) appendFileSync(file, `${JSON.stringify(recorded)}\n`);
}
