/**
 * THE STORY: load → transform → validate → send → write back.
 *
 * One account, from what stands in the source tables to what the API gave out standing there too. The parts it is handed hide
 * that the database sees batches; a send of before that never came to its end is finished first, under its own key and body.
 */
import type { Clock } from "../clock.ts";
import type { ApiConnection, ApiFailure, CustomerApi } from "../customer-api/customer-api.ts";
import type { Observe } from "../ops/observe.ts";
import type { Claim } from "../queue/queue.ts";
import type { Account } from "./account.ts";
import type { Answered, Attempt, Send, UnsettledAttempt } from "./attempt.ts";
import {
  type CustomerCommand,
  type SentRows,
  type TransformOptions,
  toCommand,
} from "./command.ts";
import { fingerprintOf } from "./fingerprint.ts";
import type { Loaded } from "./load.ts";
import { matchIds } from "./match-ids.ts";
import type { ErrorClass, FailedRows, Outcome } from "./outcome.ts";
import type { Pace } from "./pace.ts";
import { bounded, type Conclusion, type Ended, type SettlingAttempt } from "./settle.ts";
import { validateCommand } from "./validate.ts";

export interface SyncParts {
  readonly clock: Pick<Clock, "now">;
  readonly load: (accountId: string) => Promise<Loaded>;
  readonly findParentCycle: (accountId: string) => Promise<readonly string[] | null>;
  /** Where to send; an error text when the configuration that was asked for cannot be used. */
  readonly connection: (
    configId: string | null,
  ) => Promise<ApiConnection | { readonly error: string }>;
  readonly api: CustomerApi;
  /** Waits until it is this send's turn. */
  readonly place: Pace["place"];
  /** Resolves null when the lease was lost: then nothing may be sent. */
  readonly journalSend: (send: Send, signal: AbortSignal) => Promise<Attempt | null>;
  readonly journalAnswer: (answered: Answered, signal: AbortSignal) => Promise<void>;
  /** Writes back and settles. Resolves null when the lease was lost. */
  readonly settle: (conclusion: Conclusion, signal: AbortSignal) => Promise<Outcome | null>;
  readonly observe: Pick<Observe, "unknownOutcome">;
  readonly mapping: TransformOptions;
  readonly policy: SyncPolicy;
}

export interface SyncPolicy {
  /** What to do with a create whose answer never came. */
  readonly unknownOutcome: "park" | "resend";
  /** Tries on errors that may pass; 0 never gives up. */
  readonly maxAttempts: number;
  /** `updated_by` when nobody is named. */
  readonly defaultUserId: string;
  readonly delayAfter: (attempts: number) => number;
  /** How long a blocked account sleeps when its parent does not wake it. */
  readonly blockedRecheckMs: number;
}

/**
 * Brings one claimed account to the API. Resolves with the outcome, which is written by then; null when the lease was lost
 * on the way, and with it the right to write anything.
 *
 * @param signal aborted when the lease is lost or the process must leave
 */
export async function syncAccount(
  parts: SyncParts,
  claim: Claim,
  signal: AbortSignal,
): Promise<Outcome | null> {
  const startedAt = parts.clock.now();
  const end = (ending: Ending) =>
    parts.settle(
      {
        ...WITHOUT_FURTHER_ADO,
        generation: claim.generation,
        ...ending,
        kind: "ended",
        claim,
        durationMs: parts.clock.now() - startedAt,
      },
      signal,
    );

  const { account, unsettled } = await parts.load(claim.accountId);
  if (unsettled?.delivery === "answered" && unsettled.received !== null) {
    return await parts.settle(
      {
        kind: "accepted",
        claim,
        attempt: unsettled,
        received: unsettled.received,
        httpStatus: null,
      },
      signal,
    );
  }
  if (account === null) {
    return await end(gone(unsettled));
  }

  // A repeat goes where the first try went, whoever asks for it: only that API knows its key.
  const repeats = unsettled !== null && mustBeRepeated(unsettled, account) ? unsettled : null;
  const connection = await parts.connection(repeats === null ? claim.configId : repeats.configId);
  if ("error" in connection)
    return await end(withoutConnection(parts, claim, account, connection.error));
  if (repeats !== null) {
    // A crash came before the result: nobody has told of it yet.
    if (repeats.operation === "create" && repeats.delivery === "sending")
      parts.observe.unknownOutcome(claim.accountId);
    if (needsAHuman(repeats, parts.policy) && !claim.retry)
      return await end({ ...parkUnknownOutcome(repeats), delivery: "unknown" });
    return await send(
      parts,
      claim,
      connection,
      {
        ...repeats,
        claim,
        supersedes: repeats.attemptId,
        repeatsUnknown: repeats.delivery !== "not_applied",
      },
      signal,
    );
  }

  if (account.parent !== null && account.parent.externalId === null) {
    return await end(await waitForParent(parts, account, account.parent.id));
  }

  const { command, sent } = toCommand(account, parts.mapping);
  const validation = validateCommand(command, { hasAccountType: account.typeName !== null });
  if (!validation.isValid) {
    const error = validation.errors
      .map((finding) => `${finding.field}: ${finding.message}`)
      .join("; ");
    return await end({
      name: "parked",
      errorClass: "validation",
      error: bounded(error),
      failed: failedRowsOf(account, "validation"),
      supersedes: unsettled?.attemptId ?? null,
    });
  }

  const fingerprint = fingerprintOf(command);
  if (!claim.force && fingerprint === claim.fingerprint && hasAllIds(sent)) {
    return await end({ name: "unchanged", supersedes: unsettled?.attemptId ?? null });
  }

  return await send(
    parts,
    claim,
    connection,
    {
      claim,
      generation: claim.generation,
      operation: account.externalId === null ? "create" : "update",
      idempotencyKey: crypto.randomUUID(),
      userId: claim.userId ?? parts.policy.defaultUserId,
      configId: claim.configId,
      body: JSON.stringify(command),
      sent,
      fingerprint,
      supersedes: unsettled?.attemptId ?? null,
      repeatsUnknown: false,
    },
    signal,
  );
}

async function send(
  parts: SyncParts,
  claim: Claim,
  connection: ApiConnection,
  send: Send,
  signal: AbortSignal,
): Promise<Outcome | null> {
  // Before it is journaled: a send that waits for its place has not begun.
  const place = await parts.place(connection.baseUrl, signal);
  if (place.kind === "stopped") return null;
  if (place.kind === "held") {
    parts.api.hold(connection, place.forMs);
    return await parts.settle(notSentYet(claim, send, place.forMs), signal);
  }
  const attempt = await parts.journalSend(send, signal);
  if (attempt === null) return null;

  const startedAt = parts.clock.now();
  const result = await parts.api.send(connection, {
    operation: send.operation,
    externalId: send.operation === "create" ? null : send.sent.externalId,
    body: send.body,
    idempotencyKey: send.idempotencyKey,
    generation: send.generation,
    signal: mayNotBeRepeated(send, parts.policy) ? unlessLeaseLost(signal) : signal,
  });
  const end = (ending: Ending) =>
    parts.settle(
      {
        ...WITHOUT_FURTHER_ADO,
        ...ending,
        kind: "ended",
        claim,
        generation: attempt.generation,
        attempt,
        durationMs: parts.clock.now() - startedAt,
      },
      signal,
    );
  if (result.kind === "failed")
    return await end(afterFailure(parts, claim, attempt, result.failure));

  const command = JSON.parse(send.body) as CustomerCommand;
  const received = matchIds(result.answer, command, send.sent, {
    referenceField: parts.mapping.referenceField,
  });
  if (send.operation === "create" && received.customer === null) {
    return await end(
      afterFailure(parts, claim, attempt, answeredWithoutCustomer(result.httpStatus)),
    );
  }

  await parts.journalAnswer(
    { attemptId: attempt.attemptId, received, httpStatus: result.httpStatus },
    signal,
  );
  return await parts.settle(
    { kind: "accepted", claim, attempt, received, httpStatus: result.httpStatus },
    signal,
  );
}

/** A configuration that was asked for and does not exist is this request's fault; a missing default one is nobody's account's. */
function withoutConnection(
  parts: SyncParts,
  claim: Claim,
  account: Account,
  error: string,
): Ending {
  if (claim.configId !== null) {
    return {
      name: "parked",
      errorClass: "validation",
      error,
      failed: failedRowsOf(account, "validation"),
    };
  }
  return {
    name: "retry",
    errorClass: "unauthorized",
    error,
    failed: failedRowsOf(account, "unauthorized"),
    countsAsAttempt: false,
    delayMs: parts.policy.delayAfter(claim.attempts),
  };
}

/**
 * Nobody sends this again but at a person's word: whoever takes the account over finds the create in the journal and keeps away. So
 * its answer is waited for, and written down, even when the lease is lost.
 */
function mayNotBeRepeated(send: Send, policy: SyncPolicy): boolean {
  return send.operation === "create" && policy.unknownOutcome === "park";
}

/** Aborted like `signal`, but not by the loss of the lease: when the process must leave. */
export function unlessLeaseLost(signal: AbortSignal): AbortSignal {
  const leaving = new AbortController();
  const onAbort = () => {
    if (!(signal.reason instanceof Error && signal.reason.name === "LeaseLost"))
      leaving.abort(signal.reason);
  };
  if (signal.aborted) onAbort();
  else signal.addEventListener("abort", onAbort, { once: true });
  return leaving.signal;
}

function gone(unsettled: UnsettledAttempt | null): Ending {
  return {
    name: "gone",
    supersedes: unsettled?.attemptId ?? null,
    error:
      unsettled?.operation === "create"
        ? "The account was removed before the answer to its create was known: the API may have a customer that nobody here knows."
        : null,
  };
}

/**
 * A send that may have been applied, or is a create, goes out again as it was before anything newer does. An update that only changes
 * values may be overtaken by a newer one; one that adds tiers or PICs may not, or they could be added twice.
 */
function mustBeRepeated(unsettled: UnsettledAttempt, account: Account): boolean {
  switch (unsettled.operation) {
    case "create":
      // Somebody has given the account an id meanwhile: it is an update from here on.
      return account.externalId === null;
    case "update":
      return (
        unsettled.delivery !== "not_applied" &&
        !hasAllIds(unsettled.sent) &&
        unsettled.sent.externalId === account.externalId
      );
    case "delete":
      return false;
    default:
      return unsettled.operation satisfies never;
  }
}

/** The API asked another replica not to be sent to: as if it had asked us. */
function notSentYet(claim: Claim, send: Send, forMs: number): Conclusion {
  return {
    ...WITHOUT_FURTHER_ADO,
    kind: "ended",
    claim,
    generation: send.generation,
    name: "retry",
    errorClass: "throttled",
    error: `not sent: the API asked everybody to wait, ${(forMs / 1_000).toFixed(1)} s more`,
    failed: failedRowsOfSent(send.sent, "throttled"),
    delayMs: forMs,
    countsAsAttempt: false,
    keepsRetry: claim.retry,
    durationMs: 0,
  };
}

function needsAHuman(unsettled: UnsettledAttempt, policy: SyncPolicy): boolean {
  return (
    unsettled.operation === "create" &&
    unsettled.delivery !== "not_applied" &&
    policy.unknownOutcome === "park"
  );
}

function parkUnknownOutcome(attempt: SettlingAttempt): Ending {
  return {
    name: "parked",
    attempt,
    errorClass: "unknown_outcome",
    error:
      "A create was sent and its answer never came: the customer may exist. Look it up at the API; if it is there, set uuid_be to its id, then retry. A retry without an id sends the same create again.",
    failed: failedRowsOfSent(attempt.sent, "unknown_outcome"),
    settlesAttempt: false,
  };
}

async function waitForParent(
  parts: SyncParts,
  account: Account,
  parentId: string,
): Promise<Ending> {
  const cycle = await parts.findParentCycle(account.id);
  return {
    name: "blocked",
    blockedBy: parentId,
    delayMs: parts.policy.blockedRecheckMs,
    errorClass: cycle === null ? null : "validation",
    error:
      cycle === null
        ? `Waits for its parent ${parentId}, which has no external id yet.`
        : `The accounts ${cycle.join(" → ")} are each other's parents, so none of them can be sent first. Remove the parent of one of them.`,
  };
}

function afterFailure(
  parts: SyncParts,
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
    const parked = parkUnknownOutcome(attempt);
    return { ...ending, ...parked, error: bounded(`${failure.message}. ${parked.error}`) };
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
function answeredWithoutCustomer(httpStatus: number): ApiFailure {
  return {
    errorClass: "network",
    delivery: "unknown",
    countsAsAttempt: true,
    httpStatus,
    message: `The API answered the create with ${httpStatus}, without the customer's id`,
    retryAfterMs: null,
  };
}

function hasAllIds(sent: SentRows): boolean {
  return (
    sent.externalId !== null &&
    [...sent.tiers, ...sent.pics].every((row) => row.externalId !== null)
  );
}

function failedRowsOf(account: Account, reason: ErrorClass): FailedRows[] {
  return failedRows(
    reason,
    account.tiers.filter((tier) => tier.isActive).length,
    account.pics.filter((pic) => pic.isActive).length,
  );
}

function failedRowsOfSent(sent: SentRows, reason: ErrorClass): FailedRows[] {
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

type Ending = Pick<Ended, "name"> &
  Partial<Omit<Ended, "kind" | "claim" | "generation" | "durationMs">>;

const WITHOUT_FURTHER_ADO = {
  attempt: null,
  supersedes: null,
  errorClass: null,
  error: null,
  httpStatus: null,
  failed: [],
  delivery: null,
  settlesAttempt: true,
  delayMs: 0,
  countsAsAttempt: true,
  blockedBy: null,
  keepsRetry: false,
} satisfies Omit<Ended, "kind" | "claim" | "generation" | "name" | "durationMs">;
