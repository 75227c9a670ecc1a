/**
 * `npm run guarantees`: runs the tests of the fault matrix, keeps what they recorded (last-run.ts), and writes the tables of
 * docs/guarantees.md from it. Ends with 1, and changes nothing, when a test fails or a fault has no evidence.
 *
 * With FAULT_EVIDENCE it runs nothing, and takes the file of a run that had the same variable: `FAULT_EVIDENCE=… npm run test:all`.
 */
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { keepLastRun, type LastRun, readEvidence, readLastRun } from "./last-run.ts";
import { TRIED, withTables } from "./tables.ts";

const DOCUMENT = fileURLToPath(new URL("../../docs/guarantees.md", import.meta.url));

const given = process.env["FAULT_EVIDENCE"];
process.exitCode = given === undefined ? runAndWrite() : write(given);

function runAndWrite(): number {
  const directory = mkdtempSync(join(tmpdir(), "account-sync-evidence-"));
  const file = join(directory, "evidence.jsonl");
  try {
    const { status } = spawnSync("npx", ["vitest", "run", "--project", "faults"], {
      stdio: "inherit",
      env: { ...process.env, FAULT_EVIDENCE: file },
    });
    return status === 0 ? write(file) : 1;
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

function write(file: string): number {
  const run = existsSync(file) ? readEvidence(file) : null;
  const untried = untriedIn(run);
  if (run === null || untried.length > 0) {
    process.stderr.write(`No test recorded anything for ${untried.join(", ")}\n`);
    return 1;
  }

  keepLastRun(run);
  writeFileSync(DOCUMENT, withTables(readFileSync(DOCUMENT, "utf8"), readLastRun()));
  return 0;
}

function untriedIn(run: LastRun | null): string[] {
  const tried = new Set(run?.faults.map(({ fault }) => fault));
  return Object.keys(TRIED).filter((fault) => !tried.has(fault));
}
