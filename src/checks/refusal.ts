/** Why a start refuses: one error with everything that the checks found which stops it. */
import { errorCode } from "../db/error-code.ts";
import { UnsoundSchemaError } from "../db/preconditions.ts";
import { type Diagnosis, OperatorError } from "../operator-error.ts";
import { type CheckContext, lookAt } from "./check.ts";
import { CHECKS } from "./list.ts";
import { CHECK_EFFECTS, type CheckName } from "./names.ts";

/**
 * For a migrate that failed: everything that keeps the product from running, instead of the first thing that migrate met. Null where the
 * checks find nothing.
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

/** Whether the checks may know more about why a migrate failed: rights, names, syntax that an old server lacks (class 42), a standby. */
export function mayFindRefusal(error: unknown): boolean {
  if (error instanceof UnsoundSchemaError) return true;
  const code = errorCode(error instanceof OperatorError ? error.cause : error) ?? "";
  return /^(?:42...|25006)$/.test(code);
}

export function toRefusal(
  found: ReadonlyMap<CheckName, readonly Diagnosis[]>,
): OperatorError | null {
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
