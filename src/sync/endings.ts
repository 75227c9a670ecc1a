/** The ways in which a sync ends without ids to write back: what each means for the account. Pure. */
import type { Account } from "../account/account.ts";
import { callOn } from "../call-on.ts";
import type { ApiFailure } from "../customer-api/customer-api.ts";
import type { SentRows } from "../customer-command/command.ts";
import { errorCode, isNoRowsFault } from "../db/error-code.ts";
import type { Claim } from "../queue/queue.ts";
import { describeParked } from "./choice.ts";
import type { Ending, SettlingAttempt } from "./conclusion.ts";
import type { Attempt, UnsettledAttempt } from "./journal.ts";
import { boundedText, type ErrorClass, type FailedRows } from "./outcome.ts";
import type { SyncPolicy } from "./policy.ts";

/**
 * Failures of one kind in a row before the account is parked: ids that do not come, or cannot be written, the same 5xx to the same account,
 * an unforeseen error. An outage in between counts for none of them.
 */
export const ALIKE_TRIES = 5;
/** Backoff step used when an attempt is not counted. */
export const UNCOUNTED_STEP = 5;

/** A configuration that cannot be used is no account's fault. */
export function withoutConnection(
  policy: Pick<SyncPolicy, "delayAfter">,
  claim: Claim,
  account: Account | null,
  error: string,
): Ending {
  return {
    name: "retry",
    errorClass: "unauthorized",
    error,
    failed:
      account === null
        ? [{ entity: "account", reason: "unauthorized", count: 1 }]
        : failedRowsOf(account, "unauthorized"),
    countsAsAttempt: false,
    delayMs: policy.delayAfter(claim.attempts),
  };
}

/** What was asked for does not fit the account. What is pending besides goes on at once. */
export function refuseRequest(error: string): Ending {
  return {
    name: "retry",
    errorClass: "validation",
    error: boundedText(error),
    countsAsAttempt: false,
    request: "dropped",
  };
}

/** Given up as not applied: current data go out next, a create with the next ordinal. */
export function discardUnsettled(unsettled: UnsettledAttempt, why: string): Ending {
  return {
    name: "retry",
    supersedes: unsettled.attemptId,
    error: `The unfinished ${unsettled.operation} was given up, ${why}: current data go out instead.`,
    countsAsAttempt: false,
    request: "decided",
    endsCreate: unsettled.operation === "create",
  };
}

/** Its customer was found at the API and mapped to it: an update follows, as nothing tells that it holds these data. */
export function customerAdopted(unsettled: UnsettledAttempt | null): Ending {
  return {
    name: "retry",
    supersedes: unsettled?.attemptId ?? null,
    error:
      "A lookup found the customer of this account at the API: its id is taken, and an update follows.",
    countsAsAttempt: false,
    isExpected: true,
  };
}

/** @param reason what the lookup told, as a sentence without its full stop */
export function parkUnclearLookup(accountId: string, sent: SentRows, reason: string): Ending {
  return {
    name: "parked",
    errorClass: "rejected",
    error: boundedText(
      `Before its first create the customer was looked for, and nothing was sent: ${reason}. If it is there: \`${callOn("adopt", accountId)} <external id>\`. If it is not: \`${callOn("retry", accountId, ["--discard"])}\` creates it.`,
    ),
    failed: failedRowsOfSent(sent, "rejected"),
  };
}

/** A lookup before the first create had no answer: nothing was sent, and nothing is in doubt. */
export function lookupFailed(
  policy: Pick<SyncPolicy, "delayAfter">,
  claim: Claim,
  sent: SentRows,
  failure: ApiFailure,
): Ending {
  return {
    name: failure.errorClass === "rejected" ? "parked" : "retry",
    errorClass: failure.errorClass,
    error: boundedText(failure.message),
    httpStatus: failure.httpStatus,
    failed: failedRowsOfSent(sent, failure.errorClass),
    countsAsAttempt: failure.countsAsAttempt,
    delayMs: Math.max(failure.retryAfterMs ?? 0, policy.delayAfter(claim.attempts)),
    request: claim.retry ? "kept with retry" : "kept",
  };
}

export function accountGone(unsettled: UnsettledAttempt | null): Ending {
  return {
    name: "gone",
    supersedes: unsettled?.attemptId ?? null,
    error:
      unsettled?.operation === "create"
        ? "The account was removed before the answer to its create was known: the API may have a customer that is not known here."
        : null,
  };
}

/** The customer was removed like its account, or was not there any more. */
export function customerDeleted(): Ending {
  return { name: "gone", forgetsIds: true, endsCreate: true };
}

/** The account was inserted again under its old id, after the table was read and before the send. */
export function accountBack(unsettled: UnsettledAttempt | null): Ending {
  return {
    name: "retry",
    supersedes: unsettled?.attemptId ?? null,
    error: "The account was removed, and is there again.",
    countsAsAttempt: false,
  };
}

/** @param account null when it was not even read */
export function parkInvalid(error: string, account: Account | null): Ending {
  return {
    name: "parked",
    errorClass: "validation",
    error: boundedText(error),
    failed:
      account === null
        ? [{ entity: "account", reason: "validation", count: 1 }]
        : failedRowsOf(account, "validation"),
  };
}

/** The API asked another replica to wait: this counts for all replicas. */
export function notSentYet(claim: Claim, sent: SentRows, forMs: number): Ending {
  return {
    name: "retry",
    errorClass: "throttled",
    error: `not sent: the API asked all daemons to wait, ${(forMs / 1_000).toFixed(1)} s more`,
    failed: failedRowsOfSent(sent, "throttled"),
    delayMs: forMs,
    countsAsAttempt: false,
    request: claim.retry ? "kept with retry" : "kept",
  };
}

/** What is to be done about an unfinished send waits: it may be under way. */
export function waitForTheFirst(claim: Claim, create: UnsettledAttempt, waitMs: number): Ending {
  return {
    name: "retry",
    attempt: create,
    errorClass: "unknown_outcome",
    error: `The answer to ${nameOf(create)} never came. It may still be under way, so nothing is sent beside it for ${Math.ceil(waitMs / 1_000)} s more.${claim.discard ? " Then it is given up, as was decided, and current data go out." : ""}`,
    delivery: "unknown",
    settlesAttempt: false,
    countsAsAttempt: false,
    delayMs: waitMs,
    request: claim.retry ? "kept with retry" : "kept",
  };
}

/** @param reason what was tried to find out, as a sentence without its full stop */
export function parkUnknownOutcome(attempt: SettlingAttempt, reason: string | null = null): Ending {
  return {
    name: "parked",
    attempt,
    errorClass: "unknown_outcome",
    error: boundedText(describeParked({ ...attempt, delivery: "unknown" }, reason)),
    failed: failedRowsOfSent(attempt.sent, "unknown_outcome"),
    delivery: "unknown",
    settlesAttempt: false,
  };
}

function nameOf({ operation }: Pick<SettlingAttempt, "operation">): string {
  return operation === "update" ? "an update" : `a ${operation}`;
}

/** Whether an answer that did not come leaves a create in doubt that was not so before. */
export function putsCreateInDoubt(attempt: Attempt, failure: ApiFailure): boolean {
  return (
    attempt.operation === "create" && !attempt.repeatsUnknown && failure.delivery === "unknown"
  );
}

export function afterFailure(
  policy: Pick<SyncPolicy, "unknownOutcome" | "maxAttempts" | "delayAfter">,
  claim: Claim,
  attempt: Attempt,
  failure: ApiFailure,
): Ending {
  // The result of this try says nothing about an earlier one of the same send that may have been applied.
  const delivery = attempt.repeatsUnknown ? "unknown" : failure.delivery;
  const ending = {
    generation: attempt.generation,
    attempt,
    errorClass: failure.errorClass,
    error: boundedText(failure.message),
    httpStatus: failure.httpStatus,
    delivery,
    failed: failedRowsOfSent(attempt.sent, failure.errorClass),
  };

  // A create that may have been applied is parked also when it is refused now: a 409 may mean that the first one was applied. It is not
  // parked when this try did not arrive: the retry that a person asked for is then still to be done.
  const isRejected = failure.errorClass === "rejected";
  const failureKind = failure.isAboutSend === true ? `server ${failure.httpStatus}` : null;
  if (
    attempt.operation === "create" &&
    delivery === "unknown" &&
    (isRejected || (policy.unknownOutcome === "park" && failure.delivery === "unknown"))
  ) {
    return { ...ending, ...parkUnknownOutcome(attempt, failure.message) };
  }
  if (isRejected) {
    return {
      ...ending,
      ...(failure.httpStatus === 404 && attempt.operation === "update"
        ? { error: describeMissing(attempt, failure) }
        : {}),
      name: "parked",
      settlesAttempt: true,
      endsCreate: attempt.operation === "create" && delivery === "not_applied",
    };
  }
  // Repeated for ever it would hold corrected data back: a person decides, or the data change.
  if (failureKind !== null && isLastAlike(claim, failureKind)) {
    return {
      ...ending,
      // As below: what is newer than the unfinished send opens no new round.
      generation: claim.generation,
      name: "parked",
      failureKind,
      error: boundedText(
        describeParked(
          { ...attempt, delivery },
          `${failure.message}, ${ALIKE_TRIES} times in a row`,
        ),
      ),
      settlesAttempt: false,
    };
  }
  const isLastTry =
    failure.countsAsAttempt && policy.maxAttempts > 0 && claim.attempts + 1 >= policy.maxAttempts;
  const settlesAttempt = delivery === "not_sent";
  return {
    ...ending,
    // Data that are newer than an unfinished send do not open a new round: it would begin with the same send, for ever.
    generation: isLastTry && !settlesAttempt ? claim.generation : attempt.generation,
    name: isLastTry ? "parked" : "retry",
    settlesAttempt,
    countsAsAttempt: failure.countsAsAttempt,
    failureKind,
    delayMs: Math.max(failure.retryAfterMs ?? 0, policy.delayAfter(claim.attempts)),
    request: claim.retry && failure.delivery !== "unknown" ? "kept with retry" : "kept",
  };
}

/** A wrong id gets this answer, too: forgetting the right one would make a second customer. */
function describeMissing({ sent }: Attempt, { message }: ApiFailure): string {
  const { accountId, externalId, unmapped = [] } = sent;
  const known = unmapped.find(({ entity }) => entity === "account")?.mappedAs ?? null;
  const isWrong =
    known === null
      ? `If ${externalId} is not its id: \`${callOn("adopt", accountId)} <external id>\`.`
      : `The API gave this account the id ${known}; to have it put back, clear uuid_be (${externalId}), then \`${callOn("retry", accountId)}\`.`;
  return boundedText(
    `${message}. ${isWrong} If the customer was removed there and is to be made anew: \`${callOn("forget", accountId)}\`, and the next sync creates it.`,
  );
}

/** Whether this failure is the last that is tried of its kind. */
export function isLastAlike(
  { failureKind, failuresAlike }: Pick<Claim, "failureKind" | "failuresAlike">,
  kind: string,
): boolean {
  return (failureKind === kind ? failuresAlike : 0) + 1 >= ALIKE_TRIES;
}

/** The API took a create and did not say which customer it made: as good as no answer. */
export function answeredWithoutCustomer(httpStatus: number): ApiFailure {
  return {
    errorClass: "network",
    delivery: "unknown",
    countsAsAttempt: true,
    httpStatus,
    message: `The API answered the create with ${httpStatus}, without the customer's id`,
    retryAfterMs: null,
  };
}

/** An error that no code foresees: retried ever more slowly, then parked, so that it does not hold up other accounts. */
export function failedUnforeseen(
  policy: Pick<SyncPolicy, "delayAfter">,
  claim: Claim,
  error: unknown,
): Ending {
  const code = errorCode(error);
  const countsAsAttempt = !isNoRowsFault(error);
  const failureKind = countsAsAttempt ? `unforeseen ${code ?? ""}`.trim() : null;
  const isLastTry = failureKind !== null && isLastAlike(claim, failureKind);
  return {
    name: isLastTry ? "parked" : "retry",
    errorClass: "database",
    // The message of an unforeseen error may carry a value of the row.
    error: `Failed in a way that was not foreseen (${code ?? (error instanceof Error ? error.name : typeof error)}); the log has the rest`,
    failed: [{ entity: "account", reason: "database", count: 1 }],
    settlesAttempt: false,
    delayMs: policy.delayAfter(countsAsAttempt ? claim.attempts : UNCOUNTED_STEP),
    countsAsAttempt,
    failureKind,
  };
}

function failedRowsOf(account: Account, reason: ErrorClass): FailedRows[] {
  return failedRows(
    reason,
    account.tiers.filter((tier) => tier.isActive).length,
    account.pics.filter((pic) => pic.isActive).length,
  );
}

export function failedRowsOfSent(sent: SentRows, reason: ErrorClass): FailedRows[] {
  return failedRows(reason, sent.tiers.length, sent.pics.length);
}

function failedRows(reason: ErrorClass, tiers: number, pics: number): FailedRows[] {
  const rows: FailedRows[] = [
    { entity: "account", reason, count: 1 },
    { entity: "tier", reason, count: tiers },
    { entity: "pic", reason, count: pics },
  ];
  return rows.filter((row) => row.count > 0);
}
