/** What `doctor` prints of its examinations: a line for each with its findings, and a summary; or JSON. */
import type { CheckEffect } from "../checks/names.ts";
import type { Diagnosis } from "../operator-error.ts";
import { printJson, printLine, printText } from "./output.ts";
import { counted } from "./wording.ts";

export interface Examined {
  readonly name: string;
  readonly effect: CheckEffect;
  readonly expectation: string;
  readonly status: "ok" | "warning" | "failed" | "not_checked";
  readonly findings: readonly Diagnosis[];
  /** Not checked because another check failed, which has the remedy. */
  readonly isSkipped: boolean;
}

export function reportExamined(results: readonly Examined[], json: boolean): void {
  for (const result of results) {
    if (json) printJson(toJson(result));
    else printResult(result);
  }
  if (!json) printSummary(results);
}

function toJson({ name, expectation, status, effect, findings }: Examined) {
  return {
    check: name,
    status,
    severity: effect === "warns" ? "warning" : "failure",
    stops_start: effect === "stops",
    promise: expectation,
    findings,
  };
}

const MARKS = {
  ok: "ok",
  warning: "WARNING",
  failed: "FAILED",
  not_checked: "NOT CHECKED",
} as const;
const MARK_WIDTH = 13;
const NAME_WIDTH = 23;

function printResult({ name, expectation, status, isSkipped, findings }: Examined): void {
  const head = MARKS[status].padEnd(MARK_WIDTH) + name.padEnd(NAME_WIDTH);
  const [first = expectation] = findings.map(({ problem }) => problem);
  printText(head + indented(first));
  for (const [index, { problem, remedy }] of findings.entries()) {
    if (index > 0) printText(" ".repeat(MARK_WIDTH + NAME_WIDTH) + indented(problem));
    // The check that failed has the remedy already.
    if (!isSkipped) printText(`${" ".repeat(MARK_WIDTH + NAME_WIDTH)}→ ${indented(remedy)}`);
  }
}

function indented(text: string): string {
  return text.replaceAll("\n", `\n${" ".repeat(MARK_WIDTH + NAME_WIDTH)}`);
}

function printSummary(results: readonly Examined[]): void {
  const count = (status: Examined["status"]) =>
    results.filter((result) => result.status === status).length;
  const [failed, unknown, warnings] = [count("failed"), count("not_checked"), count("warning")];
  const counts = [
    failed === 0 ? "none failed" : `${failed} failed`,
    ...(unknown === 0 ? [] : [`${unknown} not checked`]),
    ...(warnings === 0 ? [] : [counted(warnings, "warning")]),
  ];
  printLine();
  printLine(`${counted(results.length, "check")}: ${counts.join(", ")}.`);
}
