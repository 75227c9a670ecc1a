/** The recorded evidence that docs/guarantees.md is made from: test/evidence/last-run.jsonl, the machine first, then one test a line. */
import { readFileSync, writeFileSync } from "node:fs";
import { cpus, release, totalmem } from "node:os";
import { fileURLToPath } from "node:url";
import type { RecordedFault, RecordedSpeed } from "../support/evidence.ts";

export interface LastRun {
  readonly machine: Machine;
  readonly faults: readonly RecordedFault[];
  readonly speeds: readonly RecordedSpeed[];
}

interface Machine {
  /** YYYY-MM-DD */
  readonly date: string;
  readonly cores: number;
  readonly memoryGiB: number;
  readonly kernel: string;
  readonly node: string;
}

const FILE = fileURLToPath(new URL("last-run.jsonl", import.meta.url));

export function readLastRun(): LastRun {
  const [machine = "", ...lines] = linesOf(FILE);
  return { machine: JSON.parse(machine), ...parse(lines) };
}

/** What the tests of a run appended to a file, on this machine and today. */
export function readEvidence(file: string): LastRun {
  const machine = {
    date: new Date().toISOString().slice(0, 10),
    cores: cpus().length,
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    kernel: release(),
    node: process.versions.node,
  };
  return { machine, ...parse(linesOf(file)) };
}

/** Sorted: test files run side by side and append in no order that means anything. */
export function keepLastRun({ machine, faults, speeds }: LastRun): void {
  const recorded = [...faults, ...speeds].toSorted((a, b) => (placeOf(a) < placeOf(b) ? -1 : 1));
  const lines = [machine, ...recorded].map((one) => `${JSON.stringify(one)}\n`);
  writeFileSync(FILE, lines.join(""));
}

function linesOf(file: string): string[] {
  return readFileSync(file, "utf8").split("\n").filter(Boolean);
}

function placeOf({ file, test }: RecordedFault | RecordedSpeed): string {
  return `${file} ${test}`;
}

function parse(lines: readonly string[]): Pick<LastRun, "faults" | "speeds"> {
  const recorded = lines.map((line) => JSON.parse(line) as RecordedFault | RecordedSpeed);
  return {
    faults: recorded.filter((one) => "fault" in one),
    speeds: recorded.filter((one) => "what" in one),
  };
}
