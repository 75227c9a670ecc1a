/**
 * Decides, of one conclusion and of what became of its ids, everything that is written about it: the outcome, what happens to the
 * account's row, and whether its attempt is over. Pure; backoff and jitter are handed in.
 */
import type { MappedId, UnmappedId } from "../account/mapped-ids.ts";
import { callOn } from "../call-on.ts";
import type { SentRows } from "../customer-command/command.ts";
import type { ReceivedIds } from "../customer-command/match-ids.ts";
import { errorCode, isNoRowsFault } from "../db/error-code.ts";
import type { Settlement } from "../queue/queue.ts";
import type { Accepted, Conclusion, Ended } from "./conclusion.ts";
import { isLastAlike, UNCOUNTED_STEP } from "./endings.ts";
import {
  boundedText,
  type CountByEntity,
  type ErrorClass,
  type FailedRows,
  type Outcome,
  type RowResult,
} from "./outcome.ts";

/** Everything that is written about one conclusion. */
export interface Decision {
  readonly conclusion: Conclusion;
  readonly outcome: Outcome;
  readonly settlement: Settlement;
  readonly settlesAttempt: boolean;
}

export interface Delays {
  /** Milliseconds after so many failed attempts. */
  readonly delayAfter: (attempts: number) => number;
  /** In [0, 1). */
  readonly random: () => number;
}

/** @param rows what became of each id; empty where there was none to write */
export function decide(
  conclusion: Conclusion,
  rows: readonly RowResult[],
  delays: Delays,
): Decision {
  return conclusion.kind === "ended"
    ? decideEnded(conclusion)
    : decideAccepted(conclusion, rows, delays);
}

const DISPOSITIONS = {
  unchanged: "clean",
  gone: "clean",
  blocked: "blocked",
  retry: "again",
  parked: "parked",
} as const satisfies Record<Ended["name"], Settlement["disposition"]>;

function decideEnded(ended: Ended): Decision {
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
      ...(ended.isExpected && { isExpected: true }),
    },
    settlement: {
      claim: ended.claim,
      generation: ended.generation,
      disposition: DISPOSITIONS[ended.name],
      delayMs: ended.delayMs,
      countsAsAttempt: ended.countsAsAttempt,
      failureKind: ended.failureKind,
      endsCreate: ended.endsCreate,
      errorClass: ended.errorClass,
      error: ended.error,
      fingerprint: fingerprintStillTrue(ended),
      blockedBy: ended.blockedBy,
      request: ended.request,
    },
    settlesAttempt: ended.settlesAttempt,
  };
}

/** What was accepted before still is what the API has, when it is known that this send did not get through. */
function fingerprintStillTrue({ attempt, delivery, claim }: Ended): string | null {
  const isKnown = delivery === "not_sent" || delivery === "not_applied";
  return attempt !== null && isKnown ? claim.fingerprint : null;
}

function decideAccepted(accepted: Accepted, rows: readonly RowResult[], delays: Delays): Decision {
  const { claim, attempt, received } = accepted;
  const unwritten = rows.filter((row) => row.status === "locked" || row.status === "failed");
  const failed = rows.filter((row) => row.status === "failed");
  // Where nothing can be written to the table at all, no account is to blame, and none is parked for it.
  const refused = failed.filter((row) => !isNoRowsFault(row.error));
  const conflicts = rows.filter((row) => row.status === "conflict");
  const isTaken = rows.some((row) => row.status === "taken");
  const isIncomplete = received.problems.length > 0;

  const errorClass: ErrorClass | null =
    unwritten.length > 0
      ? "database"
      : isIncomplete
        ? "incomplete"
        : conflicts.length > 0 || isTaken
          ? "id_conflict"
          : null;
  const mustRepeat = unwritten.length > 0 || isIncomplete;
  // A locked row is no failure: it is free again in a moment, so it is retried without a limit.
  const countsAsAttempt = refused.length > 0 || (isIncomplete && unwritten.length === 0);
  const isOnlyLocked =
    unwritten.length > 0 && failed.length + conflicts.length === 0 && !isIncomplete;
  const failureKind = countsAsAttempt ? (errorClass ?? null) : null;
  const isFollowed = mustRepeat || attempt.keyHadOtherData;
  const isParked =
    isTaken || (mustRepeat && failureKind !== null && isLastAlike(claim, failureKind));

  const outcome: Outcome = {
    name: isParked ? "parked" : errorClass === null ? "synced" : "partial",
    operation: attempt.operation,
    httpStatus: accepted.httpStatus,
    errorClass: isParked && !isTaken ? "incomplete" : errorClass,
    error: describe(rows, received, attempt.sent),
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
      disposition: isParked ? "parked" : isFollowed ? "again" : "clean",
      delayMs: delayOf(delays, claim.attempts, { countsAsAttempt, failed: failed.length > 0 }),
      countsAsAttempt,
      failureKind,
      endsCreate: isTaken && attempt.operation === "create",
      errorClass: outcome.errorClass,
      error: outcome.error,
      fingerprint: isFollowed || isTaken ? null : attempt.fingerprint,
      blockedBy: null,
      request: "kept",
    },
    settlesAttempt: unwritten.length === 0,
  };
}

/** A row that was merely locked is free again in a moment. */
function delayOf(
  { delayAfter, random }: Delays,
  attempts: number,
  { countsAsAttempt, failed }: { readonly countsAsAttempt: boolean; readonly failed: boolean },
): number {
  if (countsAsAttempt) return delayAfter(attempts);
  return failed ? delayAfter(UNCOUNTED_STEP) : 200 + random() * 800;
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
    if (status === "conflict" || status === "taken")
      failed.push({ entity, reason: "id_conflict", count: 1 });
    if (status === "failed" || status === "locked")
      failed.push({ entity, reason: "database", count: 1 });
  }
  return failed;
}

/** One line; ids of rows and codes of errors, never what is in the rows. */
function describe(
  rows: readonly RowResult[],
  received: ReceivedIds,
  { restored = [], unmapped = [] }: SentRows,
): string | null {
  const sentences = [
    ...describeMended(restored, unmapped),
    ...rows.flatMap((row) => {
      switch (row.status) {
        case "written":
        case "confirmed":
          return [];
        case "conflict":
          return [
            `${row.entity} ${row.id} has a different external id already; it was kept, the API answered ${row.externalId}. A sync with --replace takes that`,
          ];
        case "taken":
          return [
            `The API answered with ${row.externalId}, which is the id of account ${String(row.error)}, so nothing was written. Give the two accounts what the API can tell them apart by, or look up which customer is whose: \`${callOn("adopt", row.id)} <external id>\``,
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
  return sentences.length === 0 ? null : boundedText(sentences.join("; "));
}

function describeMended(restored: readonly MappedId[], unmapped: readonly UnmappedId[]): string[] {
  const list = (rows: readonly MappedId[]) =>
    rows.map(({ entity, id }) => `${entity} ${id}`).join(", ");
  const followed = unmapped.filter(({ mappedAs }) => mappedAs !== null);
  return [
    ...(restored.length > 0
      ? [`ids were missing in the database and are put back: ${list(restored)}`]
      : []),
    ...(followed.length > 0
      ? [`rows have other ids than were known, which are used now: ${list(followed)}`]
      : []),
  ];
}
