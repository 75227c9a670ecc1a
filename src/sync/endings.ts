/** The ways in which a sync ends without anything to write back: what each means for the account, in one place. Pure but for the telling. */

import type { Account } from "../account/account.ts";
import type { ApiFailure } from "../customer-api/customer-api.ts";
import type { SentRows } from "../customer-command/command.ts";
import type { Observe } from "../ops/observe.ts";
import type { Claim } from "../queue/queue.ts";
import type { Attempt, UnsettledAttempt } from "./attempt.ts";
import type { ErrorClass, FailedRows } from "./outcome.ts";
import { bounded, type Ended, type SettlingAttempt } from "./settle.ts";
import type { SyncPolicy } from "./sync-parts.ts";

export type Ending = Pick<Ended, "name"> &
  Partial<Omit<Ended, "kind" | "claim" | "generation" | "durationMs">>;

export const WITHOUT_FURTHER_ADO = {
  attempt: null,
  supersedes: null,
  errorClass: null,
  error: null,
  httpStatus: null,
  failed: [],
  warnings: 0,
  delivery: null,
  settlesAttempt: true,
  delayMs: 0,
  countsAsAttempt: true,
  blockedBy: null,
  keepsRetry: false,
} satisfies Omit<Ended, "kind" | "claim" | "generation" | "name" | "durationMs">;

export interface EndingParts {
  readonly observe: Pick<Observe, "unknownOutcome">;
  readonly policy: Pick<SyncPolicy, "unknownOutcome" | "maxAttempts" | "delayAfter">;
}

/** A configuration that was asked for and does not exist is this request's fault; a missing default one is nobody's account's. */
export function withoutConnection(
  parts: EndingParts,
  claim: Claim,
  account: Account | null,
  error: string,
): Ending {
  if (claim.configId !== null) {
    return notValid(error, account);
  }
  return {
    name: "retry",
    errorClass: "unauthorized",
    error,
    failed:
      account === null
        ? [{ entity: "account", reason: "unauthorized", count: 1 }]
        : failedRowsOf(account, "unauthorized"),
    countsAsAttempt: false,
    delayMs: parts.policy.delayAfter(claim.attempts),
  };
}

export function gone(unsettled: UnsettledAttempt | null): Ending {
  return {
    name: "gone",
    supersedes: unsettled?.attemptId ?? null,
    error:
      unsettled?.operation === "create"
        ? "The account was removed before the answer to its create was known: the API may have a customer that nobody here knows."
        : null,
  };
}

/** The customer was removed, as its account was; or it was not there any more. */
export function removed(): Ending {
  return { name: "gone" };
}

/** Between the look at the table and the send it was inserted again, under its old id. */
export function backAgain(unsettled: UnsettledAttempt | null): Ending {
  return {
    name: "retry",
    supersedes: unsettled?.attemptId ?? null,
    error: "The account was removed, and is there again.",
    countsAsAttempt: false,
  };
}

export function idOfAnother(accountId: string): string {
  return `The account was removed; its customer was kept, since account ${accountId} has the same external id.`;
}

/** @param account null when it was not even read */
export function notValid(error: string, account: Account | null): Ending {
  return {
    name: "parked",
    errorClass: "validation",
    error: bounded(error),
    failed:
      account === null
        ? [{ entity: "account", reason: "validation", count: 1 }]
        : failedRowsOf(account, "validation"),
  };
}

/** The API asked another replica not to be sent to: as if it had asked us. */
export function notSentYet(claim: Claim, sent: SentRows, forMs: number): Ending {
  return {
    name: "retry",
    errorClass: "throttled",
    error: `not sent: the API asked everybody to wait, ${(forMs / 1_000).toFixed(1)} s more`,
    failed: failedRowsOfSent(sent, "throttled"),
    delayMs: forMs,
    countsAsAttempt: false,
    keepsRetry: claim.retry,
  };
}

/** A create that may go out again, but not yet: the first one may be under way. */
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
    error: bounded(reason === null ? advice : `${reason}. ${advice}`),
    failed: failedRowsOfSent(attempt.sent, "unknown_outcome"),
    delivery: "unknown",
    settlesAttempt: false,
  };
}

export function afterFailure(
  parts: EndingParts,
  claim: Claim,
  attempt: Attempt,
  failure: ApiFailure,
): Ending {
  // Whatever became of this try, it says nothing about an earlier one of the same send that may have been applied.
  const delivery = attempt.repeatsUnknown ? "unknown" : failure.delivery;
  const isUnknownCreate = attempt.operation === "create" && delivery === "unknown";
  if (isUnknownCreate && !attempt.repeatsUnknown) parts.observe.unknownOutcome(claim.accountId);
  const ending = {
    errorClass: failure.errorClass,
    error: bounded(failure.message),
    httpStatus: failure.httpStatus,
    delivery,
    failed: failedRowsOfSent(attempt.sent, failure.errorClass),
  };

  // Also when it is refused now: a 409 may well mean that the first one was applied. Not when this try did not get there: what a
  // person asked for is still to be done.
  const wasDecided = failure.errorClass === "rejected";
  if (
    isUnknownCreate &&
    (wasDecided || (parts.policy.unknownOutcome === "park" && failure.delivery === "unknown"))
  ) {
    return { ...ending, ...parkUnknownOutcome(attempt, failure.message) };
  }
  if (failure.errorClass === "rejected") return { ...ending, name: "parked", settlesAttempt: true };
  const isLastTry =
    failure.countsAsAttempt &&
    parts.policy.maxAttempts > 0 &&
    claim.attempts + 1 >= parts.policy.maxAttempts;
  return {
    ...ending,
    name: isLastTry ? "parked" : "retry",
    settlesAttempt: delivery === "not_sent",
    countsAsAttempt: failure.countsAsAttempt,
    delayMs: Math.max(failure.retryAfterMs ?? 0, parts.policy.delayAfter(claim.attempts)),
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
