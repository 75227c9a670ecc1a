/**
 * What an exchange with the API means: the command was accepted, the customer was found, or it failed, and how. Pure, apart from the
 * wall clock, which is read where a server sends no Date.
 *
 * A success is a 2xx whose body parses and is recognised: to HTTP, a 200 without Content-Length that was cut off looks complete.
 */
import {
  type AnswerSection,
  type CustomerAnswer,
  EMPTY_ANSWER,
  isBareSuccess,
  readAnswer,
} from "./answer.ts";
import type {
  ApiFailure,
  ApiResult,
  FailedResult,
  LookupRequest,
  LookupResult,
} from "./customer-api.ts";
import { errorMessages } from "./error-messages.ts";
import type { HttpAnswer, HttpBreak, HttpResult } from "./exchange.ts";
import {
  errorVerdict,
  mentionsToken,
  retryAfterMs,
  statusVerdict,
  usesUpAttempt,
  type Verdict,
} from "./failure.ts";
import { parseJson } from "./json.ts";
import { readLookup } from "./lookup.ts";
import { createMask, maskPersonal, toOneLine } from "./mask.ts";
import { toMaskedError } from "./masked-error.ts";
import type { ApiCall } from "./request.ts";

/** What a judgement has to know of the request that was made. */
export interface JudgedRequest {
  readonly operation: ApiCall["operation"];
  /** The request and its target, for messages. */
  readonly what: string;
  /** JSON text of the command it is about, which the API's messages may quote. */
  readonly command: string | null;
  readonly secrets: readonly string[];
  /** Statuses by which this API promises that it did nothing, besides 429. */
  readonly promisedNotApplied: readonly number[];
}

export function judgeCommand(outcome: HttpResult, request: JudgedRequest): ApiResult {
  if (outcome.kind === "broken") return judgeBreak(outcome, request);
  if (isSuccess(outcome.status)) return judgeSuccess(outcome, request);
  // Nothing is left to delete.
  if (request.operation === "delete" && (outcome.status === 404 || outcome.status === 410)) {
    return accepted(outcome.status, EMPTY_ANSWER);
  }
  return judgeRefusal(outcome, request);
}

/** Found, not there, or unclear. What may pass by itself is a failure: nothing is known then, and the create may not be sent. */
export function judgeLookup(
  outcome: HttpResult,
  request: JudgedRequest,
  wanted: LookupRequest,
): LookupResult {
  if (outcome.kind === "broken") return judgeBreak(outcome, request);

  const { status, text } = outcome;
  if (isSuccess(status) || status === 404) {
    const found = readLookup({ status, text, link: outcome.header("link") }, wanted);
    if (found === null) return judgeUnrecognised(outcome, undefined, request);
    return found.kind === "unclear"
      ? unclear(status, `${request.what} answered ${status}: ${found.reason}`)
      : { kind: "answered", httpStatus: status, found };
  }

  const refusal = judgeRefusal(outcome, request);
  // The same question is refused again until a person corrects the configuration.
  return refusal.failure.errorClass === "rejected"
    ? unclear(status, refusal.failure.message)
    : refusal;
}

function unclear(httpStatus: number, reason: string): LookupResult {
  return { kind: "answered", httpStatus, found: { kind: "unclear", reason: toOneLine(reason) } };
}

function judgeSuccess(answer: HttpAnswer, request: JudgedRequest): ApiResult {
  if (request.operation === "delete") return accepted(answer.status, EMPTY_ANSWER);
  // An update is complete without a body. A create without one gives no id, and none would ever be known.
  if (request.operation === "update" && answer.status === 204) {
    return accepted(answer.status, EMPTY_ANSWER);
  }

  const json = parseJson(answer.text);
  const read = readAnswer(json);
  // {"success": true} completes an update, too: ids that are still missing are asked for by the next one.
  if (read === null && request.operation === "update" && isBareSuccess(json)) {
    return accepted(answer.status, EMPTY_ANSWER, json);
  }
  if (read === null) return judgeUnrecognised(answer, json, request);

  const masked = maskAnswer(read, request);
  if (masked.refusal === null || hasNewCustomer(masked, request)) {
    return accepted(answer.status, masked, json);
  }
  return failed({
    errorClass: "rejected",
    delivery: "not_applied",
    countsAsAttempt: true,
    httpStatus: answer.status,
    message: toOneLine(`${request.what} answered ${answer.status} but refused: ${masked.refusal}`),
    ...asAnswered(json, request),
    retryAfterMs: null,
  });
}

/** A create that is refused and yet gives an id has made a customer, whose id must not be lost. An update may only repeat our ids. */
function hasNewCustomer(answer: CustomerAnswer, request: JudgedRequest): boolean {
  return request.operation === "create" && answer.customer.items.some((item) => item.id !== null);
}

/**
 * A 2xx that is not recognised: taken for a success it would lose the change silently, and taken for a refusal it would park what may
 * succeed the next time. With messages ({"error": "…"}) it comes from a server that took the request, so its class is `server`.
 */
function judgeUnrecognised(
  answer: HttpAnswer,
  json: unknown,
  request: JudgedRequest,
): FailedResult {
  const said = mask(errorMessages(json).join("; "), request);
  const ownWords = `${request.what} answered ${answer.status} without the sections of an answer`;
  return failed({
    errorClass: said === "" ? "network" : "server",
    delivery: "unknown",
    countsAsAttempt: true,
    httpStatus: answer.status,
    message: toOneLine(`${ownWords}: ${said || describeBody(answer)}`),
    ownWords,
    ...asAnswered(json, request),
    retryAfterMs: null,
  });
}

function judgeRefusal(answer: HttpAnswer, request: JudgedRequest): FailedResult {
  const json = parseJson(answer.text);
  const messages = errorMessages(json);
  const isTokenRefused = answer.status === 403 && isAboutToken(answer, messages);
  const status = isTokenRefused ? 401 : answer.status;
  const verdict = statusVerdict(status, request.promisedNotApplied);
  const said = mask(messages.join("; ") || plainText(answer), request) || describeBody(answer);
  const ownWords = `${request.what} answered ${answer.status}`;
  // The key was used before, with other data: a restore has lost what became of that create, which the API may have applied.
  const isAboutKey =
    request.operation === "create" && messages.some((text) => /idempoten/i.test(text));

  return failed({
    ...toFailure(verdict, answer.status),
    ...(isAboutKey && verdict.errorClass === "rejected" ? { delivery: "unknown" } : {}),
    message: withHint(`${ownWords}: ${said}`, verdict),
    ownWords: withHint(ownWords, verdict),
    ...asAnswered(json, request),
    retryAfterMs: retryAfterMs(answer.header("retry-after"), serverNow(answer)),
  });
}

function asAnswered(
  json: unknown,
  { command, secrets }: JudgedRequest,
): Pick<ApiFailure, "answered"> {
  const answered = toMaskedError(json, createMask(command, secrets));
  return answered === null ? {} : { answered };
}

function judgeBreak(broken: HttpBreak, request: JudgedRequest): FailedResult {
  // A status that came is an answer even if its body did not: only a success needs its body.
  if (broken.status !== null && !isSuccess(broken.status)) {
    const verdict = statusVerdict(broken.status, request.promisedNotApplied);
    const ownWords = `${request.what} answered ${broken.status}, its body broke off`;
    return failed({
      ...toFailure(verdict, broken.status),
      ...inOwnWords(withHint(ownWords, verdict)),
      retryAfterMs: retryAfterMs(broken.header("retry-after"), serverNow(broken)),
    });
  }

  const verdict = errorVerdict(broken.code, broken.written);
  const status = broken.status === null ? "" : ` answered ${broken.status}, then`;
  return failed({
    ...toFailure(verdict, broken.status),
    // A send that we stopped is not the account's fault.
    ...(broken.code === "GIVEN_UP" ? { countsAsAttempt: false, isGivenUp: true } : {}),
    ...inOwnWords(withHint(`${request.what}${status} failed: ${broken.code}`, verdict)),
  });
}

/** Many gateways answer 403 instead of 401 to an expired token. */
function isAboutToken(answer: HttpAnswer, messages: readonly string[]): boolean {
  return mentionsToken(messages) || answer.header("www-authenticate") !== null;
}

function isSuccess(status: number): boolean {
  return status >= 200 && status < 300;
}

function toFailure(verdict: Verdict, httpStatus: number | null): Omit<ApiFailure, "message"> {
  return {
    errorClass: verdict.errorClass,
    delivery: verdict.delivery,
    countsAsAttempt: usesUpAttempt(verdict.errorClass),
    httpStatus,
    retryAfterMs: null,
  };
}

/** A date in Retry-After is by the server's clock, which its own Date header shows. */
function serverNow(answer: HttpAnswer | HttpBreak): number {
  const date = Date.parse(answer.header("date") ?? "");
  return Number.isNaN(date) ? Date.now() : date;
}

function withHint(message: string, verdict: Verdict): string {
  return toOneLine(verdict.hint === "" ? message : `${message}; ${verdict.hint}`);
}

/** For a message without any text of the API. */
function inOwnWords(message: string): Pick<ApiFailure, "message" | "ownWords"> {
  return { message, ownWords: message };
}

/** Some gateways say what is wrong in a plain line. A page of HTML is left out. */
function plainText(answer: HttpAnswer): string {
  return /^text\/plain\b/.test(answer.header("content-type") ?? "") ? answer.text : "";
}

function describeBody(answer: HttpAnswer): string {
  const type = /^[\w.+-]+\/[\w.+-]{1,60}/.exec(answer.header("content-type") ?? "")?.[0];
  return `${type ?? "no content type"}, ${answer.text.length} characters`;
}

function maskAnswer(answer: CustomerAnswer, request: JudgedRequest): CustomerAnswer {
  const maskSection = (section: AnswerSection): AnswerSection =>
    section.errors.length === 0
      ? section
      : { ...section, errors: section.errors.map((error) => mask(error, request)) };
  return {
    refusal: answer.refusal === null ? null : mask(answer.refusal, request),
    customer: maskSection(answer.customer),
    branch: maskSection(answer.branch),
    tier: maskSection(answer.tier),
    crew: maskSection(answer.crew),
  };
}

function mask(text: string, { command, secrets }: JudgedRequest): string {
  return maskPersonal(text, command, secrets);
}

function accepted(httpStatus: number, answer: CustomerAnswer, body?: unknown): ApiResult {
  return { kind: "accepted", httpStatus, answer, body };
}

function failed(failure: ApiFailure): FailedResult {
  return { kind: "failed", failure };
}
