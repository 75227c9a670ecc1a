/**
 * `npm run guarantees`: runs the tests of the fault matrix and writes what they found out into the tables of docs/guarantees.md. Ends
 * with 1, and leaves the document alone, when a test fails or a fault has no evidence.
 *
 * With FAULT_EVIDENCE it runs nothing, and takes the file of a run that had the same variable: `FAULT_EVIDENCE=… npm run test:all`.
 */
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { cpus, release, tmpdir, totalmem } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { RecordedFault, RecordedSpeed } from "../support/evidence.ts";
import { FAULTS } from "./faults.ts";

const DOCUMENT = fileURLToPath(new URL("../../docs/guarantees.md", import.meta.url));
/** What the convergence test does cannot be told apart by fault. */
const TRIED = {
  ...FAULTS,
  convergence: "faults of every part at random moments, three replicas coming and going",
};
const START = "<!-- from the last run: begin -->";
const END = "<!-- from the last run: end -->";

const given = process.env["FAULT_EVIDENCE"];
process.exitCode = given === undefined ? runAndWrite() : writeTables(readEvidence(given));

function runAndWrite(): number {
  const directory = mkdtempSync(join(tmpdir(), "account-sync-evidence-"));
  const file = join(directory, "evidence.jsonl");
  try {
    const { status } = spawnSync("npx", ["vitest", "run", "--project", "faults"], {
      stdio: "inherit",
      env: { ...process.env, FAULT_EVIDENCE: file },
    });
    return status === 0 ? writeTables(readEvidence(file)) : 1;
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

function readEvidence(file: string): (RecordedFault | RecordedSpeed)[] {
  if (!existsSync(file)) return [];
  const lines = readFileSync(file, "utf8").split("\n").filter(Boolean);
  return lines.map((line) => JSON.parse(line) as RecordedFault | RecordedSpeed);
}

function writeTables(evidence: readonly (RecordedFault | RecordedSpeed)[]): number {
  const byFault = Map.groupBy(
    evidence.filter((one) => "fault" in one),
    ({ fault }) => fault,
  );
  const unproven = Object.keys(TRIED).filter((fault) => !byFault.has(fault));
  if (unproven.length > 0) {
    process.stderr.write(`No test recorded anything for ${unproven.join(", ")}\n`);
    return 1;
  }

  const bySpeed = Map.groupBy(
    evidence.filter((one) => "what" in one),
    ({ what }) => what,
  );
  const written = [
    `Run on ${new Date().toISOString().slice(0, 10)}: ${cpus().length} cores, ${Math.round(totalmem() / 2 ** 30)} GiB, Linux ${release()}, Node ${process.versions.node}.`,
    "",
    "| | fault | tries | lost | twins | longest recovery | test |",
    "|---|---|---|---|---|---|---|",
    ...Object.entries(TRIED).map(([fault, what]) =>
      toFaultRow(fault, what, byFault.get(fault) ?? []),
    ),
    "",
    "| how quickly | measured, longest | promised | test |",
    "|---|---|---|---|",
    ...[...bySpeed].map(([what, speeds]) => toSpeedRow(what, speeds)),
  ];
  const document = readFileSync(DOCUMENT, "utf8");
  const before = document.slice(0, document.indexOf(START) + START.length);
  const after = document.slice(document.indexOf(END));
  writeFileSync(DOCUMENT, `${before}\n\n${written.join("\n")}\n\n${after}`);
  return 0;
}

/** Tries add up; of recoveries the longest counts. */
function toFaultRow(fault: string, what: string, evidence: readonly RecordedFault[]): string {
  const sum = (of: (one: RecordedFault) => number) =>
    evidence.reduce((total, one) => total + of(one), 0);
  const recoveries = evidence.map(({ recoveryMs }) => recoveryMs).filter((ms) => ms !== null);
  const recovery = recoveries.length === 0 ? "" : toSeconds(Math.max(...recoveries));
  return `| ${fault} | ${what} | ${sum(({ tries }) => tries)} | ${sum(({ lost }) => lost)} | ${sum(({ twins }) => twins)} | ${recovery} | ${toLinks(evidence)} |`;
}

function toSpeedRow(what: string, speeds: readonly RecordedSpeed[]): string {
  const longest = Math.max(...speeds.map(({ ms }) => ms));
  const promised = Math.min(...speeds.map(({ withinMs }) => withinMs));
  return `| ${what} | ${toSeconds(longest)} | ${toSeconds(promised)} | ${toLinks(speeds)} |`;
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
