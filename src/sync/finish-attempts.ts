/** Writes into the journal how attempts ended, in the transaction that settles their accounts. */
import type { Queryable } from "../db/database.ts";
import { recordUnsent } from "./journal.ts";
import type { CountByEntity, FailedRows } from "./outcome.ts";
import type { Decision } from "./settlement.ts";

/** Ends the attempts of these decisions, and records those that sent nothing. */
export async function finishAttempts(tx: Queryable, decisions: readonly Decision[]): Promise<void> {
  const journaled = decisions.flatMap((decision) =>
    decision.conclusion.attempt === null
      ? []
      : [{ ...decision, attempt: decision.conclusion.attempt }],
  );
  if (journaled.length > 0) {
    await tx.run("finish_attempts", [
      JSON.stringify(
        journaled.map(({ attempt, conclusion, outcome, settlesAttempt }) => ({
          attemptId: attempt.attemptId,
          outcome: outcome.name,
          delivery: conclusion.kind === "ended" ? conclusion.delivery : null,
          httpStatus: outcome.httpStatus,
          errorClass: outcome.errorClass,
          error: outcome.error,
          updated: outcome.updated,
          failed: sumOf(outcome.failed),
          isSettled: settlesAttempt,
        })),
      ),
    ]);
  }

  const superseded = decisions.flatMap(({ conclusion }) =>
    conclusion.kind === "ended" && conclusion.supersedes !== null ? [conclusion.supersedes] : [],
  );
  if (superseded.length > 0)
    await tx.run("supersede_attempts", [superseded, superseded.map(() => false)]);

  await recordUnsent(
    tx,
    decisions.flatMap(({ conclusion, outcome }) =>
      conclusion.kind === "ended" && conclusion.attempt === null
        ? [
            {
              accountId: conclusion.claim.accountId,
              generation: conclusion.claim.generation,
              trigger: conclusion.claim.trigger,
              outcome: outcome.name,
              errorClass: outcome.errorClass,
              error: outcome.error,
              updated: outcome.updated,
              failed: sumOf(outcome.failed),
              durationMs: conclusion.durationMs,
              warnings: conclusion.warnings,
            },
          ]
        : [],
    ),
  );
}

function sumOf(failed: readonly FailedRows[]): CountByEntity {
  const count = (entity: FailedRows["entity"]) =>
    failed.filter((row) => row.entity === entity).reduce((sum, row) => sum + row.count, 0);
  return { account: count("account"), tier: count("tier"), pic: count("pic") };
}
