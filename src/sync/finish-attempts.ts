/** Writes into the journal how attempts ended, in the transaction that settles their accounts. */
import type { Queryable } from "../db/database.ts";
import type { Conclusion, SettlingAttempt } from "./conclusion.ts";
import {
  type Answered,
  journalAnswers,
  recordUnsent,
  type StrayCustomer,
  type UnsentAttempt,
} from "./journal.ts";
import type { CountByEntity, FailedRows } from "./outcome.ts";
import type { Decision } from "./settlement.ts";

/**
 * Ends the attempts of these decisions, with the ids that are not journaled yet, and records those that sent nothing. Resolves with what
 * the API has made twice.
 */
export async function finishAttempts(
  tx: Queryable,
  decisions: readonly Decision[],
): Promise<readonly StrayCustomer[]> {
  const journaled = decisions.flatMap((decision) =>
    decision.conclusion.attempt === null
      ? []
      : [{ ...decision, attempt: decision.conclusion.attempt }],
  );
  const [finished] = await Promise.all([
    finishJournaled(tx, journaled),
    endSuperseded(tx, decisions),
    recordUnsent(tx, decisions.flatMap(toUnsent)),
  ]);

  // One that was ended by someone else meanwhile: its answer is kept all the same.
  const ended = new Set(finished.map(({ attemptId }) => attemptId));
  const answered = toAnswers(decisions.map(({ conclusion }) => conclusion));
  const late = answered.filter(({ attemptId }) => !ended.has(attemptId));
  return [
    ...finished.filter((row): row is FinishedRow & StrayCustomer => row.stray !== null),
    ...(await journalAnswers(tx, late)),
  ];
}

/** The answers of these conclusions that are not journaled. */
export function toAnswers(conclusions: readonly Conclusion[]): Answered[] {
  return conclusions.flatMap((conclusion) => {
    if (conclusion.kind === "ended" || conclusion.isJournaled) return [];
    const { attempt, received, httpStatus } = conclusion;
    return [{ attemptId: attempt.attemptId, received, httpStatus }];
  });
}

interface FinishedRow {
  readonly attemptId: string;
  readonly accountId: string;
  readonly stray: StrayCustomer["stray"] | null;
}

async function finishJournaled(
  tx: Queryable,
  journaled: readonly (Decision & { readonly attempt: SettlingAttempt })[],
): Promise<readonly FinishedRow[]> {
  if (journaled.length === 0) return [];
  return await tx.run<FinishedRow>("finish_attempts", [
    JSON.stringify(
      journaled.map(({ attempt, conclusion, outcome, settlesAttempt }) => {
        const isAnswer = conclusion.kind === "accepted" && !conclusion.isJournaled;
        return {
          attemptId: attempt.attemptId,
          outcome: outcome.name,
          delivery:
            conclusion.kind === "ended" ? conclusion.delivery : isAnswer ? "answered" : null,
          received: isAnswer ? conclusion.received : null,
          httpStatus: outcome.httpStatus,
          errorClass: outcome.errorClass,
          error: outcome.error,
          updated: outcome.updated,
          failed: sumOf(outcome.failed),
          isSettled: settlesAttempt,
        };
      }),
    ),
  ]);
}

async function endSuperseded(tx: Queryable, decisions: readonly Decision[]): Promise<void> {
  const superseded = decisions.flatMap(({ conclusion }) =>
    conclusion.kind === "ended" && conclusion.supersedes !== null ? [conclusion.supersedes] : [],
  );
  if (superseded.length > 0)
    await tx.run("supersede_attempts", [superseded, superseded.map(() => false)]);
}

function toUnsent({ conclusion, outcome }: Decision): UnsentAttempt[] {
  if (conclusion.kind === "accepted" || conclusion.attempt !== null) return [];
  const { claim, durationMs, warnings } = conclusion;
  return [
    {
      accountId: claim.accountId,
      generation: claim.generation,
      trigger: claim.trigger,
      outcome: outcome.name,
      errorClass: outcome.errorClass,
      error: outcome.error,
      updated: outcome.updated,
      failed: sumOf(outcome.failed),
      durationMs,
      warnings,
    },
  ];
}

function sumOf(failed: readonly FailedRows[]): CountByEntity {
  const count = (entity: FailedRows["entity"]) =>
    failed.filter((row) => row.entity === entity).reduce((sum, row) => sum + row.count, 0);
  return { account: count("account"), tier: count("tier"), pic: count("pic") };
}
