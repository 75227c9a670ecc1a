/** The ways in which a sync ends without ids to write back: what each means for the account. Pure. */
import type { Account } from "../account/account.ts";
import type { ApiFailure } from "../customer-api/customer-api.ts";
import type { SentRows } from "../customer-command/command.ts";
import { errorCode, isNoRowsFault } from "../db/database.ts";
import type { Claim } from "../queue/queue.ts";
import type { Ending, SettlingAttempt } from "./conclusion.ts";
import type { Attempt, UnsettledAttempt } from "./journal.ts";
import { boundedText, type ErrorClass, type FailedRows } from "./outcome.ts";
import type { SyncPolicy } from "./policy.ts";

/** Tries at ids that did not come or cannot be written, and at unforeseen errors, before the account is parked. */
export const INCOMPLETE_TRIES = 5;
/** Backoff step used when an attempt is not counted. */
export const UNCOUNTED_STEP = 5;

/** A requested configuration that does not exist is the request's fault; a missing default one is no account's fault. */
export function withoutConnection(
  policy: Pick<SyncPolicy, "delayAfter">,
  claim: Claim,
  account: Account | null,
  error: string,
): Ending {
  if (claim.configId !== null) return parkInvalid(error, account);
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
  return { name: "gone" };
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

export function describeIdOwner(accountId: string): string {
  return `The account was removed; its customer was kept, since account ${accountId} has the same external id.`;
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
    keepsRetry: claim.retry,
  };
}

/** A create that may be sent again, but not yet: the first one may be under way. */
export function waitForTheFirst(claim: Claim, create: UnsettledAttempt, waitMs: number): Ending {
  return {
    name: "retry",
    attempt: create,
    errorClass: "unknown_outcome",
    error: `A create was sent and its answer never came. It may still be under way, so nothing is sent beside it: it goes out again in ${Math.ceil(waitMs / 1_000)} s unless the customer turns up.`,
    delivery: "unknown",
    settlesAttempt: false,
    countsAsAttempt: false,
    delayMs: waitMs,
    keepsRetry: claim.retry,
  };
}

/** @param reason what was tried to find out, as a sentence without its full stop */
export function parkUnknownOutcome(attempt: SettlingAttempt, reason: string | null = null): Ending {
  const advice =
    "A create was sent and its answer never came: the customer may exist. Look it up at the API; if it is there, set uuid_be to its id, then retry. A retry without an id sends the same create again.";
  return {
    name: "parked",
    attempt,
    errorClass: "unknown_outcome",
    error: boundedText(reason === null ? advice : `${reason}. ${advice}`),
    failed: failedRowsOfSent(attempt.sent, "unknown_outcome"),
    delivery: "unknown",
    settlesAttempt: false,
  };
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
  if (
    attempt.operation === "create" &&
    delivery === "unknown" &&
    (isRejected || (policy.unknownOutcome === "park" && failure.delivery === "unknown"))
  ) {
    return { ...ending, ...parkUnknownOutcome(attempt, failure.message) };
  }
  if (isRejected) return { ...ending, name: "parked", settlesAttempt: true };
  const isLastTry =
    failure.countsAsAttempt && policy.maxAttempts > 0 && claim.attempts + 1 >= policy.maxAttempts;
  return {
    ...ending,
    name: isLastTry ? "parked" : "retry",
    settlesAttempt: delivery === "not_sent",
    countsAsAttempt: failure.countsAsAttempt,
    delayMs: Math.max(failure.retryAfterMs ?? 0, policy.delayAfter(claim.attempts)),
    keepsRetry: claim.retry && failure.delivery !== "unknown",
  };
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
  const isLastTry = countsAsAttempt && claim.attempts + 1 >= INCOMPLETE_TRIES;
  return {
    name: isLastTry ? "parked" : "retry",
    errorClass: "database",
    // The message of an unforeseen error may carry a value of the row.
    error: `Failed in a way that was not foreseen (${code ?? (error instanceof Error ? error.name : typeof error)}); the log has the rest`,
    failed: [{ entity: "account", reason: "database", count: 1 }],
    settlesAttempt: false,
    delayMs: policy.delayAfter(countsAsAttempt ? claim.attempts : UNCOUNTED_STEP),
    countsAsAttempt,
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
