/** The tables of docs/guarantees.md, from what a run recorded. */
import type { RecordedFault, RecordedSpeed } from "../support/evidence.ts";
import { FAULTS } from "./faults.ts";
import type { LastRun } from "./last-run.ts";

/** What is tried; what the convergence test does cannot be told apart by fault. */
export const TRIED: Readonly<Record<string, string>> = {
  ...FAULTS,
  convergence: "faults of every part at random moments, with three replicas that come and go",
};

const START = "<!-- from the last run: begin -->";
const END = "<!-- from the last run: end -->";

/** The document with the tables of this run in the place of its own. */
export function withTables(document: string, run: LastRun): string {
  const before = document.slice(0, document.indexOf(START) + START.length);
  const after = document.slice(document.indexOf(END));
  return `${before}\n\n${toTables(run)}\n\n${after}`;
}

function toTables({ machine, faults, speeds }: LastRun): string {
  const byFault = Map.groupBy(faults, ({ fault }) => fault);
  const bySpeed = Map.groupBy(speeds, ({ what }) => what);
  const { date, cores, memoryGiB, kernel, node } = machine;
  return [
    `Run on ${date}: ${cores} cores, ${memoryGiB} GiB, Linux ${kernel}, Node ${node}.`,
    "",
    "| | fault | tries | lost | twins | wrong ids | overlapping | left as explained | longest recovery | test |",
    "|---|---|---|---|---|---|---|---|---|---|",
    ...Object.entries(TRIED).map(([fault, what]) =>
      toFaultRow(fault, what, byFault.get(fault) ?? []),
    ),
    "",
    "| left as explained | accounts | why |",
    "|---|---|---|",
    ...Object.keys(TRIED).flatMap((fault) => toExplainedRows(fault, byFault.get(fault) ?? [])),
    "",
    "| how quickly | measured, longest | promised | test |",
    "|---|---|---|---|",
    ...[...bySpeed].map(([what, ofOne]) => toSpeedRow(what, ofOne)),
  ].join("\n");
}

/** Figures add up; of recoveries the longest counts. */
function toFaultRow(fault: string, what: string, evidence: readonly RecordedFault[]): string {
  const sum = (of: (one: RecordedFault) => number) =>
    evidence.reduce((total, one) => total + of(one), 0);
  const recoveries = evidence.map(({ recoveryMs }) => recoveryMs).filter((ms) => ms !== null);
  return toRow([
    fault,
    what,
    sum(({ tries }) => tries),
    sum(({ lost }) => lost),
    sum(({ twins }) => twins),
    sum(({ wrongIds }) => wrongIds),
    sum(({ overlapping }) => overlapping),
    sum(({ explained }) => Object.values(explained).reduce((total, count) => total + count, 0)),
    recoveries.length === 0 ? "" : toSeconds(Math.max(...recoveries)),
    toLinks(evidence),
  ]);
}

function toExplainedRows(fault: string, evidence: readonly RecordedFault[]): string[] {
  const counts = new Map<string, number>();
  for (const { explained } of evidence)
    for (const [reason, count] of Object.entries(explained))
      counts.set(reason, (counts.get(reason) ?? 0) + count);
  return [...counts].map(([reason, count]) => toRow([fault, count, reason]));
}

function toSpeedRow(what: string, speeds: readonly RecordedSpeed[]): string {
  return toRow([
    what,
    toSeconds(Math.max(...speeds.map(({ ms }) => ms))),
    toSeconds(Math.min(...speeds.map(({ withinMs }) => withinMs))),
    toLinks(speeds),
  ]);
}

function toRow(cells: readonly (string | number)[]): string {
  return `| ${cells.join(" | ")} |`;
}

function toSeconds(ms: number): string {
  return `${(ms / 1_000).toFixed(1)} s`;
}

function toLinks(evidence: readonly { readonly file: string }[]): string {
  const files = new Set(evidence.map(({ file }) => file));
  return [...files]
    .map((path) => `[${path.replace(/^.*\/(.*)\.test\.ts$/, "$1")}](../${path})`)
    .join(", ");
}
