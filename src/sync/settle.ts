/**
 * Ends syncs: in one transaction the ids are written back, the attempts finished and the accounts settled, for as many accounts
 * as came to their end together. Fenced by the lease: of an account that somebody else has taken over nothing is changed.
 */

import { describeSource } from "../account/source.ts";
import type { Clock } from "../clock.ts";
import type { SentRows } from "../customer-command/command.ts";
import type { ReceivedIds } from "../customer-command/match-ids.ts";
import {
  type Database,
  errorCode,
  isContention,
  isNoRowsFault,
  isOutage,
  type Transaction,
} from "../db/database.ts";
import type { Claim, Queue, Settlement } from "../queue/queue.ts";
import type {
  CountByEntity,
  ErrorClass,
  FailedRows,
  Operation,
  Outcome,
  OutcomeName,
  RowResult,
} from "./outcome.ts";
import { writeBack } from "./write-back.ts";

/** What a sync came to, before anything of it is written. */
export type Conclusion = Accepted | Ended;

/** The API took the command; the ids it gave out are journaled and wait to be written back. */
export interface Accepted {
  readonly kind: "accepted";
  readonly claim: Claim;
  readonly attempt: SettlingAttempt;
  readonly received: ReceivedIds;
  readonly httpStatus: number | null;
}

/** Nothing to write back. */
export interface Ended {
  readonly kind: "ended";
  readonly claim: Claim;
  /** The generation this speaks for: the claim's, or an older one when a send of before failed once more. */
  readonly generation: string;
  /** The journaled send that ended like this; null when nothing was sent. */
  readonly attempt: SettlingAttempt | null;
  /** An unsettled attempt that has become pointless. */
  readonly supersedes: string | null;
  readonly name: Exclude<OutcomeName, "synced" | "partial">;
  readonly errorClass: ErrorClass | null;
  readonly error: string | null;
  readonly httpStatus: number | null;
  readonly failed: readonly FailedRows[];
  /** What validation had to say; of a journaled send it is in the journal already. */
  readonly warnings: number;
  readonly delivery: "not_sent" | "not_applied" | "unknown" | null;
  /** False keeps key and body for the next try. */
  readonly settlesAttempt: boolean;
  readonly delayMs: number;
  readonly countsAsAttempt: boolean;
  readonly blockedBy: string | null;
  /** Resolves itself in normal operation. */
  readonly isExpected?: boolean;
  /** A person's word that a create may be sent again, which this send did not use up. */
  readonly keepsRetry: boolean;
  readonly durationMs: number;
}

export interface SettlingAttempt {
  readonly attemptId: string;
  readonly generation: string;
  readonly operation: Operation;
  readonly userId: string;
  readonly sent: SentRows;
  readonly fingerprint: string;
}

export interface SettleParts {
  readonly clock: Pick<Clock, "random">;
  readonly db: Database;
  readonly queue: Pick<Queue, "hold" | "settle" | "wakeChildren" | "reviveAnswered">;
  readonly delayAfter: (attempts: number) => number;
  /** Something failed that can be done without. */
  readonly onTrouble: (error: unknown) => void;
}

/** Tries at ids that did not come or cannot be written, before a human is asked. */
export const INCOMPLETE_TRIES = 5;
/** Waits like after so many failures, where failures are not counted. */
export const LATER = 5;

/** A transaction of ours holds rows that folds wait for, so it waits no longer than this for anybody else's lock. */
const LOCK_WAIT_MS = 500;

/** Resolves with the outcome per conclusion, null where the lease was lost, or the error that kept this one from being settled. */
export async function settleAll(
  parts: SettleParts,
  conclusions: readonly Conclusion[],
): Promise<(Outcome | null | Error)[]> {
  try {
    return await settleTogether(parts, conclusions, "together");
  } catch (error) {
    if (isOutage(error)) throw error;
    // Somebody has the whole table (a migration, an index being built): for each of them it would be the same wait.
    if (isContention(error))
      return await settleTogether(parts, conclusions, { rows: "locked", error });
  }
  // Something in the batch is refused by the database: one by one, so that a bad row costs only itself.
  const outcomes: (Outcome | null | Error)[] = [];
  for (const conclusion of conclusions) outcomes.push(await settleAlone(parts, conclusion));
  return outcomes;
}

async function settleAlone(
  parts: SettleParts,
  conclusion: Conclusion,
): Promise<Outcome | null | Error> {
  let mode: Mode = "together";
  for (;;) {
    try {
      const [outcome] = await settleTogether(parts, [conclusion], mode);
      return outcome ?? null;
    } catch (error) {
      if (isOutage(error) || typeof mode === "object") return toError(error);
      if (isContention(error)) mode = { rows: "locked", error };
      else if (mode === "together") mode = "row by row";
      // Without the ids, which stay journaled.
      else mode = { rows: "failed", error };
    }
  }
}

/** How the ids are written: in one statement per table, each row in a savepoint, or not this time. */
type Mode =
  | "together"
  | "row by row"
  | { readonly rows: "locked" | "failed"; readonly error: unknown };

async function settleTogether(
  parts: SettleParts,
  conclusions: readonly Conclusion[],
  mode: Mode,
): Promise<(Outcome | null)[]> {
  const settled = await parts.db.transaction(async (tx) => {
    const held = await parts.queue.hold(
      tx,
      conclusions.map(({ claim }) => claim),
    );
    const ours = conclusions.filter(({ claim }) => held.has(claim.accountId));
    const results = await writeIds(tx, ours, mode);
    const endings = ours.map((conclusion) =>
      endingOf(parts, conclusion, results.get(conclusion) ?? []),
    );

    await finishAttempts(tx, endings);
    await parts.queue.settle(
      tx,
      endings.map((ending) => ending.settlement),
    );
    return endings;
  });

  // It is settled, whatever becomes of this: who is not woken looks again by himself.
  await wakeOthers(parts, conclusions, settled).catch(parts.onTrouble);
  const byConclusion = new Map(settled.map((ending) => [ending.conclusion, ending.outcome]));
  return conclusions.map((conclusion) => byConclusion.get(conclusion) ?? null);
}

async function writeIds(
  tx: Transaction,
  conclusions: readonly Conclusion[],
  mode: Mode,
): Promise<Map<Conclusion, RowResult[]>> {
  const accepted = conclusions.filter((conclusion) => conclusion.kind === "accepted");
  if (accepted.length === 0) return new Map();
  if (typeof mode === "object") {
    return new Map(accepted.map((conclusion) => [conclusion, unwrittenRows(conclusion, mode)]));
  }
  await tx.run("limit_lock_waits", [LOCK_WAIT_MS]);
  const { hasBranchIds } = await describeSource(tx);
  const results = await writeBack(
    tx,
    accepted.map(({ attempt, received, claim }) => ({
      sent: attempt.sent,
      received,
      userId: attempt.userId,
      replace: claim.force,
    })),
    { hasBranchIds, rowByRow: mode === "row by row" },
  );
  return new Map(accepted.map((conclusion, index) => [conclusion, results[index] ?? []]));
}

function unwrittenRows(
  { received, attempt }: Accepted,
  { rows, error }: Exclude<Mode, string>,
): RowResult[] {
  const unwritten = { status: rows, error };
  return [
    ...[received.customer ?? received.branch]
      .filter((externalId) => externalId !== null)
      .map((externalId) => ({
        entity: "account" as const,
        id: attempt.sent.accountId,
        externalId,
        ...unwritten,
      })),
    ...received.tiers.map((row) => ({ entity: "tier" as const, ...row, ...unwritten })),
    ...received.pics.map((row) => ({ entity: "pic" as const, ...row, ...unwritten })),
  ];
}

/** Everything that is written about one conclusion. */
interface Ending {
  readonly conclusion: Conclusion;
  readonly outcome: Outcome;
  readonly settlement: Settlement;
  readonly settlesAttempt: boolean;
}

function endingOf(parts: SettleParts, conclusion: Conclusion, rows: readonly RowResult[]): Ending {
  return conclusion.kind === "ended"
    ? endingOfEnded(conclusion)
    : endingOfAccepted(parts, conclusion, rows);
}

function endingOfEnded(ended: Ended): Ending {
  const dispositions = {
    unchanged: "clean",
    gone: "clean",
    blocked: "blocked",
    retry: "again",
    parked: "parked",
  } as const;
  return {
    conclusion: ended,
    outcome: {
      name: ended.name,
      operation: ended.attempt?.operation ?? null,
      httpStatus: ended.httpStatus,
      errorClass: ended.errorClass,
      error: ended.error,
      updated: { account: 0, tier: 0, pic: 0 },
      failed: ended.failed,
      ...(ended.isExpected === true && { isExpected: true }),
    },
    settlement: {
      claim: ended.claim,
      generation: ended.generation,
      disposition: dispositions[ended.name],
      delayMs: ended.delayMs,
      countsAsAttempt: ended.countsAsAttempt,
      errorClass: ended.errorClass,
      error: ended.error,
      fingerprint: fingerprintStillTrue(ended),
      blockedBy: ended.blockedBy,
      keepsRetry: ended.keepsRetry,
    },
    settlesAttempt: ended.settlesAttempt,
  };
}

/** What was accepted before still is what the API has, when it is known that this send did not get through. */
function fingerprintStillTrue({ attempt, delivery, claim }: Ended): string | null {
  const isKnown = delivery === "not_sent" || delivery === "not_applied";
  return attempt !== null && isKnown ? claim.fingerprint : null;
}

function endingOfAccepted(
  parts: SettleParts,
  accepted: Accepted,
  rows: readonly RowResult[],
): Ending {
  const { claim, attempt, received } = accepted;
  const unwritten = rows.filter((row) => row.status === "locked" || row.status === "failed");
  const failed = rows.filter((row) => row.status === "failed");
  // Where nothing can be written to the table at all, no account is to blame, and none is parked for it.
  const refused = failed.filter((row) => !isNoRowsFault(row.error));
  const conflicts = rows.filter((row) => row.status === "conflict");
  const isIncomplete = received.problems.length > 0;
  const isAdopted = received.adopted === true;

  const errorClass: ErrorClass | null =
    unwritten.length > 0
      ? "database"
      : isIncomplete || isAdopted
        ? "incomplete"
        : conflicts.length > 0
          ? "id_conflict"
          : null;
  const mustRepeat = unwritten.length > 0 || isIncomplete || isAdopted;
  // A locked row is nobody's failure: it is free again in a moment, however often it takes.
  const countsAsAttempt = refused.length > 0 || (isIncomplete && unwritten.length === 0);
  const isOnlyLocked =
    unwritten.length > 0 && failed.length + conflicts.length === 0 && !isIncomplete && !isAdopted;
  const isParked = mustRepeat && countsAsAttempt && claim.attempts + 1 >= INCOMPLETE_TRIES;

  const outcome: Outcome = {
    name: isParked ? "parked" : errorClass === null ? "synced" : "partial",
    operation: attempt.operation,
    httpStatus: accepted.httpStatus,
    errorClass: isParked ? "incomplete" : errorClass,
    error: describe(rows, received),
    updated: updatedRows(attempt.sent, rows),
    failed: failedRows(rows, received),
    ...(isOnlyLocked && { isExpected: true }),
    rows,
  };
  return {
    conclusion: accepted,
    outcome,
    settlement: {
      claim,
      generation: attempt.generation,
      disposition: isParked ? "parked" : mustRepeat ? "again" : "clean",
      delayMs: delayAfter(parts, claim.attempts, { countsAsAttempt, failed: failed.length > 0 }),
      countsAsAttempt,
      errorClass: outcome.errorClass,
      error: outcome.error,
      fingerprint: mustRepeat ? null : attempt.fingerprint,
      blockedBy: null,
      keepsRetry: false,
    },
    settlesAttempt: unwritten.length === 0,
  };
}

/** A row that was merely locked is free again in a moment. */
function delayAfter(
  parts: SettleParts,
  attempts: number,
  { countsAsAttempt, failed }: { readonly countsAsAttempt: boolean; readonly failed: boolean },
): number {
  if (countsAsAttempt) return parts.delayAfter(attempts);
  return failed ? parts.delayAfter(LATER) : 200 + parts.clock.random() * 800;
}

/** Rows whose id stands: written now, confirmed, or there before and not contradicted. */
function updatedRows(sent: SentRows, rows: readonly RowResult[]): CountByEntity {
  const byRow = new Map(rows.map((row) => [`${row.entity} ${row.id}`, row.status]));
  const stands = (entity: string, id: string, externalId: string | null) => {
    const status = byRow.get(`${entity} ${id}`);
    return status === undefined
      ? externalId !== null
      : status === "written" || status === "confirmed";
  };
  return {
    account: stands("account", sent.accountId, sent.externalId) ? 1 : 0,
    tier: sent.tiers.filter((row) => stands("tier", row.id, row.externalId)).length,
    pic: sent.pics.filter((row) => stands("pic", row.id, row.externalId)).length,
  };
}

function failedRows(rows: readonly RowResult[], received: ReceivedIds): FailedRows[] {
  const failed: FailedRows[] = received.problems.map(({ entity, count }) => ({
    entity,
    reason: "incomplete",
    count,
  }));
  for (const { entity, status } of rows) {
    if (status === "conflict") failed.push({ entity, reason: "id_conflict", count: 1 });
    if (status === "failed" || status === "locked")
      failed.push({ entity, reason: "database", count: 1 });
  }
  return failed;
}

const ADOPTED =
  "the answer to the create never came; its customer was found at the API by a lookup, and an update follows, as nothing tells that it holds these data";

/** One line; ids of rows and codes of errors, never what is in the rows. */
function describe(rows: readonly RowResult[], received: ReceivedIds): string | null {
  const sentences = [
    ...(received.adopted === true ? [ADOPTED] : []),
    ...rows.flatMap((row) => {
      switch (row.status) {
        case "written":
        case "confirmed":
          return [];
        case "conflict":
          return [
            `${row.entity} ${row.id} has a different external id already; it was kept, the API answered ${row.externalId}. Force a sync to replace it`,
          ];
        case "gone":
          return [
            `${row.entity} ${row.id} was removed or moved meanwhile; the API gave it ${row.externalId}`,
          ];
        case "locked":
          return [
            `${row.entity} ${row.id} is locked by another transaction; its id is written as soon as it is free`,
          ];
        case "failed":
          return [
            `${row.entity} ${row.id} could not be written (${errorCode(row.error) ?? "unknown error"}); its id is kept in the journal`,
          ];
        default:
          return row.status satisfies never;
      }
    }),
    ...received.problems.map((problem) => problem.message),
  ];
  return sentences.length === 0 ? null : bounded(sentences.join("; "));
}

/** Error texts end up in rows, logs and tables: so many characters say enough. */
const ERROR_TEXT_MAX = 1_000;

/** PostgreSQL stores no NUL, and no `…` in every encoding. */
export function bounded(text: string): string {
  const storable = text.replaceAll("\0", "");
  return storable.length <= ERROR_TEXT_MAX
    ? storable
    : `${storable.slice(0, ERROR_TEXT_MAX - 3)}...`.toWellFormed();
}

function toError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}

async function finishAttempts(tx: Transaction, endings: readonly Ending[]): Promise<void> {
  const journaled = endings.flatMap((ending) =>
    ending.conclusion.attempt === null ? [] : [{ ...ending, attempt: ending.conclusion.attempt }],
  );
  if (journaled.length > 0) {
    await tx.run("finish_attempts", [
      journaled.map(({ attempt }) => attempt.attemptId),
      journaled.map(({ outcome }) => outcome.name),
      journaled.map(({ conclusion }) => (conclusion.kind === "ended" ? conclusion.delivery : null)),
      journaled.map(({ outcome }) => outcome.httpStatus),
      journaled.map(({ outcome }) => outcome.errorClass),
      journaled.map(({ outcome }) => outcome.error),
      journaled.map(({ outcome }) => JSON.stringify(outcome.updated)),
      journaled.map(({ outcome }) => JSON.stringify(sumOf(outcome.failed))),
      journaled.map(({ settlesAttempt }) => settlesAttempt),
    ]);
  }

  const superseded = endings.flatMap(({ conclusion }) =>
    conclusion.kind === "ended" && conclusion.supersedes !== null ? [conclusion.supersedes] : [],
  );
  if (superseded.length > 0)
    await tx.run("supersede_attempts", [superseded, superseded.map(() => false)]);

  const unsent = endings.flatMap(({ conclusion, outcome }) =>
    conclusion.kind === "ended" && conclusion.attempt === null ? [{ conclusion, outcome }] : [],
  );
  if (unsent.length > 0) {
    await tx.run("record_attempts", [
      unsent.map(({ conclusion }) => conclusion.claim.accountId),
      unsent.map(({ conclusion }) => conclusion.claim.generation),
      unsent.map(({ conclusion }) => conclusion.claim.trigger),
      unsent.map(({ outcome }) => outcome.name),
      unsent.map(({ outcome }) => outcome.errorClass),
      unsent.map(({ outcome }) => outcome.error),
      unsent.map(({ outcome }) => JSON.stringify(outcome.updated)),
      unsent.map(({ outcome }) => JSON.stringify(sumOf(outcome.failed))),
      unsent.map(({ conclusion }) => conclusion.durationMs),
      unsent.map(({ conclusion }) => conclusion.warnings),
    ]);
  }
}

function sumOf(failed: readonly FailedRows[]): CountByEntity {
  const count = (entity: FailedRows["entity"]) =>
    failed.filter((row) => row.entity === entity).reduce((sum, row) => sum + row.count, 0);
  return { account: count("account"), tier: count("tier"), pic: count("pic") };
}

/**
 * Children wait for their parent's id. Parents that have one now wake them; and a child that has just gone to sleep looks once
 * more, since its parent may have been written between its load and its settling.
 *
 * An account parked for an unknown outcome waits for a human, unless the answer comes in late, from a worker whose lease was lost.
 * Both sides look after they have committed, so the second one sees the first.
 */
async function wakeOthers(
  parts: SettleParts,
  conclusions: readonly Conclusion[],
  endings: readonly Ending[],
): Promise<void> {
  const written = endings
    .filter(({ outcome }) => outcome.updated.account === 1)
    .map(({ settlement }) => settlement.claim.accountId);
  const waitedFor = [
    ...new Set(endings.map(({ settlement }) => settlement.blockedBy).filter((id) => id !== null)),
  ];
  const synced =
    waitedFor.length === 0
      ? []
      : await parts.db.run<{ id: string }>("find_synced_parents", [waitedFor]);
  await parts.queue.wakeChildren([...written, ...synced.map(({ id }) => id)]);

  const settled = new Set(endings.map(({ conclusion }) => conclusion));
  const answeredLate = conclusions.filter(
    (conclusion) => conclusion.kind === "accepted" && !settled.has(conclusion),
  );
  const unknown = endings.filter(({ outcome }) => outcome.errorClass === "unknown_outcome");
  await parts.queue.reviveAnswered(
    [...answeredLate, ...unknown.map(({ conclusion }) => conclusion)].map(
      ({ claim }) => claim.accountId,
    ),
  );
}

/** Parents looked up by one step of a search. */
const PARENTS_CHUNK = 1_000;

/** Children whose parent has its id by now, and whose waker died between the commit and the waking. */
export async function wakeForgottenChildren({
  db,
  queue,
}: Pick<SettleParts, "db"> & { readonly queue: Pick<Queue, "wakeChildren"> }): Promise<void> {
  for (let after: string | undefined = ""; after !== undefined; ) {
    const waitedFor: { id: string }[] = await db.run("waited_for_parents", [after, PARENTS_CHUNK]);
    const ids = waitedFor.map(({ id }) => id);
    const synced =
      ids.length === 0 ? [] : await db.run<{ id: string }>("find_synced_parents", [ids]);
    await queue.wakeChildren(synced.map(({ id }) => id));
    after = ids.length < PARENTS_CHUNK ? undefined : ids.at(-1);
  }
}
