/**
 * `npm run test:protections`: takes each protection out of a copy of the product, one at a time, and runs the test that should find
 * out. Ends with 1 when a protection can be missed, or when a test fails although nothing was taken out.
 */
import { spawnSync } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { PROTECTIONS, type Protection } from "./protections.ts";

const checkout = fileURLToPath(new URL("../..", import.meta.url));
const COPIED = [
  "src",
  "sql",
  "test",
  "deploy",
  "package.json",
  "tsconfig.json",
  "vitest.config.ts",
];

const copy = mkdtempSync(join(tmpdir(), "account-sync-protections-"));
let missed = 0;
try {
  for (const entry of COPIED) cpSync(join(checkout, entry), join(copy, entry), { recursive: true });
  symlinkSync(join(checkout, "node_modules"), join(copy, "node_modules"));

  for (const protection of PROTECTIONS) {
    const before = outcomeOf(protection);
    const original = readFileSync(join(copy, protection.file), "utf8");
    writeFileSync(
      join(copy, protection.file),
      original.replace(protection.text, () => protection.without),
    );
    const after = outcomeOf(protection);
    writeFileSync(join(copy, protection.file), original);

    const isFound = before === "passed" && after === "failed";
    if (!isFound) missed += 1;
    print(
      `${isFound ? "found " : "MISSED"}  ${protection.name}: ${protection.foundBy.test} ${before} with it, ${after} without`,
    );
  }
} finally {
  rmSync(copy, { recursive: true, force: true });
}
print(`${PROTECTIONS.length - missed} of ${PROTECTIONS.length} protections are found missing`);
process.exitCode = missed === 0 ? 0 : 1;

function outcomeOf({ foundBy }: Protection): "passed" | "failed" | "not run" {
  const report = join(copy, "report.json");
  rmSync(report, { force: true });
  spawnSync(
    process.execPath,
    [
      join(copy, "node_modules/vitest/vitest.mjs"),
      "run",
      foundBy.file,
      "--testNamePattern",
      foundBy.test.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"),
      "--reporter=json",
      `--outputFile=${report}`,
    ],
    { cwd: copy, stdio: "ignore" },
  );
  const { numPassedTests, numFailedTests } = JSON.parse(readFileSync(report, "utf8")) as {
    numPassedTests: number;
    numFailedTests: number;
  };
  if (numFailedTests > 0) return "failed";
  return numPassedTests > 0 ? "passed" : "not run";
}

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}
