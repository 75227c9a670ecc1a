/**
 * The customer API over HTTP: one command out, and a value that says what is known about it afterwards.
 *
 *     limits (may we send at all?) → token → exchange → verdict; a refused token is renewed once and the very same request
 *     repeated once, with its key and body.
 *
 * A success is a 2xx whose body parses and is recognised: a 200 without Content-Length that is cut off looks complete to HTTP.
 */

import type { Obstacle } from "../obstacle.ts";
import type { Observe } from "../ops/observe.ts";
import {
  type AnswerSection,
  type CustomerAnswer,
  EMPTY_ANSWER,
  isBareSuccess,
  readAnswer,
} from "./answer.ts";
import type {
  ApiAuth,
  ApiConnection,
  ApiFailure,
  ApiRequest,
  ApiResult,
  CustomerApi,
  LookupRequest,
  LookupResult,
} from "./customer-api.ts";
import { errorMessages } from "./error-messages.ts";
import {
  createExchange,
  type Exchange,
  type HttpAnswer,
  type HttpBreak,
  type HttpOutcome,
  type HttpRequest,
} from "./exchange.ts";
import {
  errorVerdict,
  retryAfterMs,
  smellsOfToken,
  statusVerdict,
  usesUpAttempt,
  type Verdict,
} from "./failure.ts";
import { parseJson } from "./json.ts";
import { createLimits } from "./limits.ts";
import { readLookup } from "./lookup.ts";
import { maskPersonal, toOneLine } from "./mask.ts";
import { createTokens, type Tokens } from "./token.ts";

export interface CustomerApiOptions {
  /** For one whole request, from the first try to connect to the last byte of the answer. */
  readonly timeoutMs: number;
  /** `account-sync/<version>`. */
  readonly userAgent: string;
  readonly observe: Pick<Observe, "apiRequest" | "circuit">;
  readonly limits: {
    readonly backoffMinMs: number;
    readonly backoffMaxMs: number;
  };
  /** The API asked to be left alone for so long, and not just by us. */
  readonly onHold?: (baseUrl: string, forMs: number) => void;
  /** Monotonic milliseconds. */
  readonly now?: () => number;
  readonly random?: () => number;
}

export interface CustomerApiClient extends CustomerApi {
  /**
   * Milliseconds until a send makes sense, 0 for now: nothing need be claimed before. A hint for all connections together, so 0
   * as soon as one of them may be open to sends.
   */
  available(): number;
  /** How many sends make sense now: after an outage one goes ahead and tries. */
  slots(): number;
  /** What stops the sends of this configuration just now; null for nothing. */
  findObstacle(configId: string | null): Obstacle | null;
  /** The worst of what stops the sends of all configurations used lately; null as soon as one of them is open to sends. */
  findCommonObstacle(): Obstacle | null;
  /** Breaks off what is still in flight. */
  close(): Promise<void>;
}

/** A token comes quickly or not at all; it must not eat a request's two minutes. */
export const TOKEN_TIMEOUT_MAX_MS = 30_000;

export function createCustomerApi(options: CustomerApiOptions): CustomerApiClient {
  const now = options.now ?? (() => performance.now());
  const random = options.random ?? Math.random;
  const { observe, userAgent, timeoutMs } = options;

  const { exchange, close } = createExchange({ timeoutMs });
  const tokens = createTokens({
    exchange,
    userAgent,
    observe,
    now,
    random,
    timeoutMs: Math.min(timeoutMs, TOKEN_TIMEOUT_MAX_MS),
  });
  const limits = createLimits({
    ...options.limits,
    observe,
    now,
    random,
    onHold: options.onHold ?? (() => {}),
  });
  const sender: Sender = { exchange, tokens, observe, userAgent, timeoutMs };

  return {
    async send(connection, request) {
      const impossible = findImpossible(request);
      if (impossible !== null) return failed(impossible);

      return limits.guard(connection, {
        idempotencyKey: request.idempotencyKey,
        run: () => exchangeAuthorized(sender, connection, toCommandCall(connection, request)),
      });
    },
    async lookUp(connection, request) {
      const path = toLookupPath(connection, request);
      if (path === null) return NOTHING_TO_LOOK_FOR;

      // To the limits any answer is a sign of life, whatever it says.
      let answered: LookupResult | null = null;
      const guarded = await limits.guard(connection, {
        idempotencyKey: `lookup ${request.idempotencyKey}`,
        run: async () => {
          const call = toLookupCall(connection, request, path);
          const result = await exchangeAuthorized(sender, connection, call);
          if (result.kind === "failed") return result;
          answered = result;
          return accepted(result.httpStatus ?? 0, EMPTY_ANSWER);
        },
      });
      return answered ?? (guarded as Extract<ApiResult, { kind: "failed" }>);
    },
    hold: (connection, forMs) => limits.hold(connection, forMs),
    available: () => limits.available(),
    slots: () => limits.slots(),
    findObstacle: (configId) => limits.findObstacle(configId),
    findCommonObstacle: () => limits.findCommonObstacle(),
    close,
  };
}

interface Sender {
  readonly exchange: Exchange;
  readonly tokens: Tokens;
  readonly observe: Pick<Observe, "apiRequest">;
  readonly userAgent: string;
  readonly timeoutMs: number;
}

/** An id of dots would climb out of the path, and no encoding keeps a URL parser from it. */
function findImpossible(request: ApiRequest): ApiFailure | null {
  if (request.operation === "create") return null;
  if (request.externalId !== null && !/^\.{0,2}$/.test(request.externalId)) return null;

  return {
    errorClass: "rejected",
    delivery: "not_sent",
    countsAsAttempt: true,
    httpStatus: null,
    message: `${request.operation} needs an external id that can stand in a URL; correct the row's uuid_be`,
    retryAfterMs: null,
  };
}

/** One request to the API proper, and how to read what comes back. */
interface Call<Result extends CallResult> {
  readonly operation: ApiRequest["operation"] | "lookup";
  readonly method: HttpRequest["method"];
  /** With the ids in it; `target` is the path as it is configured. */
  readonly path: string;
  readonly target: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string | null;
  /** The command that the API's words may quote. */
  readonly about: string | null;
  readonly mayBegin: () => boolean;
  readonly signal: AbortSignal;
  readonly judge: (outcome: HttpOutcome, context: Context) => Result;
}

type CallResult = ApiResult | LookupResult;

async function exchangeAuthorized<Result extends CallResult>(
  sender: Sender,
  connection: ApiConnection,
  call: Call<Result>,
): Promise<Result | Failed> {
  const { auth } = connection;
  const first = await exchangeWithToken(sender, connection, call);
  if (auth.kind !== "client_credentials" || first.token === null) return first.result;

  // Most gateways that answer 403 to an expired token say so; some say "Forbidden" and nothing else.
  const isSuspect = isForbidden(first.result) && sender.tokens.maySuspect(auth, first.token);
  if (!first.tokenRefused && !isSuspect) return first.result;

  sender.tokens.invalidate(auth, first.token);
  const second = await exchangeWithToken(sender, connection, call);
  return second.result;
}

interface Exchanged<Result> {
  readonly result: Result | Failed;
  readonly token: string | null;
  readonly tokenRefused: boolean;
}

async function exchangeWithToken<Result extends CallResult>(
  sender: Sender,
  connection: ApiConnection,
  call: Call<Result>,
): Promise<Exchanged<Result>> {
  const authorization = await authorize(sender, connection.auth, call.signal);
  if (authorization.kind === "failed") {
    return { result: failed(authorization.failure), token: null, tokenRefused: false };
  }

  const { token } = authorization;
  const outcome = await sender.exchange(toHttpRequest(sender, connection, call, token));
  const context: Context = {
    what: `${call.operation} (${call.method} ${describeTarget(connection, call.target)})`,
    operation: call.operation,
    body: call.about,
    secrets: secretsOf(connection, token),
  };
  const result = call.judge(outcome, context);

  sender.observe.apiRequest({
    operation: call.operation,
    result: observedResult(result),
    durationMs: outcome.durationMs,
  });
  return { result, token, tokenRefused: isTokenRefusal(result) };
}

function isTokenRefusal(result: CallResult): boolean {
  // A proxy's 407 is not about our token.
  return (
    result.kind === "failed" &&
    result.failure.errorClass === "unauthorized" &&
    result.failure.httpStatus !== 407
  );
}

function isForbidden(result: CallResult): boolean {
  return result.kind === "failed"
    ? result.failure.httpStatus === 403
    : result.kind === "answered" && result.httpStatus === 403;
}

/** The token for a request; none for an API without one. */
export async function authorize(
  sender: { readonly tokens: Pick<Tokens, "get"> },
  auth: ApiAuth,
  signal: AbortSignal,
) {
  switch (auth.kind) {
    case "none":
      return { kind: "token", token: null } as const;
    case "static":
      return { kind: "token", token: auth.token } as const;
    case "client_credentials":
      return sender.tokens.get(auth, signal);
    default:
      throw new Error(`unknown kind of authorization: ${auth satisfies never}`);
  }
}

/** A request as the API gets it, with our headers and those of the configuration. */
export function toHttpRequest(
  sender: Pick<Sender, "userAgent" | "timeoutMs">,
  connection: ApiConnection,
  call: Pick<Call<CallResult>, "method" | "path" | "headers" | "body" | "mayBegin" | "signal">,
  token: string | null,
): HttpRequest {
  return {
    method: call.method,
    url: connection.baseUrl + call.path,
    headers: {
      ...extraHeaders(connection, token),
      ...(token === null ? {} : { authorization: `Bearer ${token}` }),
      // A DELETE has no body, and servers refuse an empty one that claims to be JSON.
      ...(call.body === null ? {} : { "content-type": "application/json" }),
      "accept-encoding": "identity",
      ...call.headers,
      "user-agent": sender.userAgent,
    },
    body: call.body,
    timeoutMs: sender.timeoutMs,
    mayBegin: call.mayBegin,
    signal: call.signal,
  };
}

function toCommandCall(connection: ApiConnection, request: ApiRequest): Call<ApiResult> {
  const { method, target } = route(connection, request);
  const id = encodeURIComponent(request.externalId ?? "");
  return {
    operation: request.operation,
    method,
    path: target.replaceAll("{id}", () => id),
    target,
    headers: {
      "idempotency-key": request.idempotencyKey,
      "x-sync-generation": request.generation,
    },
    body: request.body,
    about: request.body,
    mayBegin: request.mayBegin,
    signal: request.signal,
    judge,
  };
}

function route(
  connection: ApiConnection,
  request: ApiRequest,
): { method: HttpRequest["method"]; target: string } {
  switch (request.operation) {
    case "create":
      return { method: connection.createMethod, target: connection.createPath };
    case "update":
      return { method: connection.updateMethod, target: connection.updatePath };
    case "delete":
      return { method: "DELETE", target: connection.updatePath };
    default:
      throw new Error(`unknown operation: ${request.operation satisfies never}`);
  }
}

/** Without a key: what is only read cannot happen twice, and the key belongs to the create. */
function toLookupCall(
  connection: ApiConnection,
  request: LookupRequest,
  path: string,
): Call<LookupResult> {
  return {
    operation: "lookup",
    method: "GET",
    path,
    target: connection.lookupPath ?? "",
    headers: {},
    body: null,
    about: request.body,
    mayBegin: request.mayBegin,
    signal: request.signal,
    judge: (outcome, context) => judgeLookup(outcome, context, request),
  };
}

/** null when the account lacks what the path asks for, or has it in a form that no URL can carry. */
function toLookupPath(connection: ApiConnection, request: LookupRequest): string | null {
  const values = { account_no: request.accountNo.trim(), account_id: request.accountId };
  let path = connection.lookupPath;
  for (const [name, value] of Object.entries(values)) {
    if (path === null || !path.includes(`{${name}}`)) continue;
    // Dots would climb out of the path, as with the id of an update.
    if (/^\.{0,2}$/.test(value)) return null;
    path = path.replaceAll(`{${name}}`, () => encodeURIComponent(value));
  }
  return path;
}

const NOTHING_TO_LOOK_FOR: LookupResult = {
  kind: "answered",
  httpStatus: null,
  found: {
    kind: "unclear",
    reason:
      "It cannot be looked up: the account has no number that CUSTOMER_API_LOOKUP_PATH could ask for",
  },
};

/** The configuration may add headers, never touch what makes the request this request. */
const OWN_HEADERS = new Set([
  "host",
  "content-length",
  "content-type",
  "transfer-encoding",
  "connection",
  "keep-alive",
  "upgrade",
  "expect",
  "te",
  "trailer",
  "accept-encoding",
  "idempotency-key",
  "x-sync-generation",
  "user-agent",
]);

/** What the configuration adds to every request. */
function extraHeaders(connection: ApiConnection, token: string | null): Record<string, string> {
  const headers: Record<string, string> = { accept: "application/json" };
  for (const [name, value] of Object.entries(connection.headers)) {
    const lowerCased = name.toLowerCase();
    if (OWN_HEADERS.has(lowerCased)) continue;
    // With no token of ours it may be an API key scheme.
    if (lowerCased === "authorization" && token !== null) continue;
    headers[lowerCased] = value;
  }
  return headers;
}

/** Where it went, without what a URL may hide: user, password, query and ids. */
export function describeTarget(connection: ApiConnection, target: string): string {
  const url = URL.parse(connection.baseUrl);
  if (url === null) return "(the base URL is not a URL)";

  return `${url.origin}${url.pathname.replace(/\/$/, "")}${target.replace(/[?#].*$/, "")}`;
}

function secretsOf(connection: ApiConnection, token: string | null): string[] {
  const secrets = Object.values(connection.headers);
  if (token !== null) secrets.push(token);
  if (connection.auth.kind === "client_credentials") secrets.push(connection.auth.clientSecret);
  // Short header values are words such as "v2"; to mask them would blank out innocent text.
  return secrets.filter((secret) => secret.length >= 8);
}

interface Context {
  /** What we tried, on what. */
  readonly what: string;
  readonly operation: ApiRequest["operation"] | "lookup";
  /** The command that the API's words may quote. */
  readonly body: string | null;
  readonly secrets: readonly string[];
}

function judge(outcome: HttpOutcome, context: Context): ApiResult {
  if (outcome.kind === "broken") return judgeBreak(outcome, context);
  if (outcome.status >= 200 && outcome.status < 300) return judgeSuccess(outcome, context);
  if (context.operation === "delete" && (outcome.status === 404 || outcome.status === 410)) {
    return accepted(outcome.status, EMPTY_ANSWER);
  }
  return judgeRefusal(outcome, context);
}

function judgeSuccess(answer: HttpAnswer, context: Context): ApiResult {
  if (context.operation === "delete") return accepted(answer.status, EMPTY_ANSWER);
  // "Done, nothing to say" is an answer to an update. To a create it lacks the id, and we would never learn it.
  if (context.operation === "update" && answer.status === 204) {
    return accepted(answer.status, EMPTY_ANSWER);
  }

  const json = parseJson(answer.text);
  const read = json === undefined ? null : readAnswer(json);
  // {"success": true} to an update says enough too: ids that are missing after it are asked for by the next one.
  if (read === null && context.operation === "update" && isBareSuccess(json)) {
    return accepted(answer.status, EMPTY_ANSWER, json);
  }
  if (read === null) return unrecognised(answer, json, context);

  const masked = maskAnswer(read, context);
  if (masked.refusal === null || madeCustomer(masked, context)) {
    return accepted(answer.status, masked, json);
  }
  return failed({
    errorClass: "rejected",
    delivery: "not_applied",
    countsAsAttempt: true,
    httpStatus: answer.status,
    message: toOneLine(`${context.what} answered ${answer.status} but refused: ${masked.refusal}`),
    retryAfterMs: null,
  });
}

/**
 * A 2xx that is no answer we know: taken for a success it would lose the change silently, and taken for a refusal it would park what
 * may pass the next time. One that gives messages ({"error": "…"}) came from somebody who speaks of the command.
 */
function unrecognised(answer: HttpAnswer, json: unknown, context: Context): Failed {
  const said = mask(errorMessages(json).join("; "), context);
  return failed({
    errorClass: said === "" ? "network" : "server",
    delivery: "unknown",
    countsAsAttempt: true,
    httpStatus: answer.status,
    message: toOneLine(
      `${context.what} answered ${answer.status} without the sections of an answer: ${said || describeBody(answer)}`,
    ),
    ownWords: `${context.what} answered ${answer.status} without the sections of an answer`,
    retryAfterMs: null,
  });
}

/** "No success", and yet the id of a new customer: it exists, and its id is not to be lost. An update's ids may be our own. */
function madeCustomer(answer: CustomerAnswer, context: Context): boolean {
  return context.operation === "create" && answer.customer.items.some((item) => item.id !== null);
}

/** Found, not there, or unclear. What may pass is a failure: nothing is known then, and nothing may be sent. */
function judgeLookup(
  outcome: HttpOutcome,
  context: Context,
  request: LookupRequest,
): LookupResult | Failed {
  if (outcome.kind === "broken") return judgeBreak(outcome, context);

  const { status, text } = outcome;
  const isAnswer = (status >= 200 && status < 300) || status === 404;
  const found = isAnswer
    ? readLookup({ status, text, link: outcome.header("link") }, request)
    : null;
  if (found?.kind === "unclear") {
    return unclear(status, `${context.what} answered ${status}: ${found.reason}`);
  }
  if (found !== null) return { kind: "answered", httpStatus: status, found };
  if (isAnswer) return unrecognised(outcome, undefined, context);

  const refusal = judgeRefusal(outcome, context);
  // The same question will be refused again: whoever configured it has to look.
  return refusal.failure.errorClass === "rejected"
    ? unclear(status, refusal.failure.message)
    : refusal;
}

function unclear(httpStatus: number, reason: string): LookupResult {
  return { kind: "answered", httpStatus, found: { kind: "unclear", reason: toOneLine(reason) } };
}

function judgeRefusal(answer: HttpAnswer, context: Context): Failed {
  const messages = errorMessages(parseJson(answer.text));
  const tokenRefused = answer.status === 403 && saysTokenRefused(answer, messages);
  const verdict = statusVerdict(tokenRefused ? 401 : answer.status);
  const said = mask(messages.join("; ") || plainWords(answer), context) || describeBody(answer);

  return failed({
    ...toFailure(verdict, answer.status),
    message: withHint(`${context.what} answered ${answer.status}: ${said}`, verdict),
    ownWords: withHint(`${context.what} answered ${answer.status}`, verdict),
    retryAfterMs: retryAfterMs(answer.header("retry-after"), serverNow(answer)),
  });
}

function judgeBreak(broken: HttpBreak, context: Context): Failed {
  // A status line that came is an answer even if its body did not; only a success needs its body.
  if (broken.status !== null && (broken.status < 200 || broken.status >= 300)) {
    const verdict = statusVerdict(broken.status);
    return failed({
      ...toFailure(verdict, broken.status),
      ...inOwnWords(
        withHint(`${context.what} answered ${broken.status}, its body broke off`, verdict),
      ),
      retryAfterMs: retryAfterMs(broken.header("retry-after"), serverNow(broken)),
    });
  }

  const verdict = errorVerdict(broken.code, broken.written);
  const status = broken.status === null ? "" : ` answered ${broken.status}, then`;
  const failure = toFailure(verdict, broken.status);
  return failed({
    ...failure,
    // A send that was stopped is not the account's fault.
    ...(broken.code === "GIVEN_UP" ? { countsAsAttempt: false, isGivenUp: true } : {}),
    ...inOwnWords(withHint(`${context.what}${status} failed: ${broken.code}`, verdict)),
  });
}

function saysTokenRefused(answer: HttpAnswer, messages: readonly string[]): boolean {
  return smellsOfToken(messages) || answer.header("www-authenticate") !== null;
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

/** A date in Retry-After is meant on the server's clock, which its own Date header shows. */
function serverNow(answer: { header(name: string): string | null }): number {
  const date = Date.parse(answer.header("date") ?? "");
  return Number.isNaN(date) ? Date.now() : date;
}

function withHint(message: string, verdict: Verdict): string {
  return toOneLine(verdict.hint === "" ? message : `${message}; ${verdict.hint}`);
}

/** A message without any text of the API. */
function inOwnWords(message: string): Pick<ApiFailure, "message" | "ownWords"> {
  return { message, ownWords: message };
}

function mask(text: string, context: Context): string {
  return maskPersonal(text, context.body, context.secrets);
}

/** Some gateways say in a plain line what is wrong; a page of HTML says it to nobody. */
function plainWords(answer: HttpAnswer): string {
  return /^text\/plain\b/.test(answer.header("content-type") ?? "") ? answer.text : "";
}

function describeBody(answer: HttpAnswer): string {
  const type = /^[\w.+-]+\/[\w.+-]{1,60}/.exec(answer.header("content-type") ?? "")?.[0];
  return `${type ?? "no content type"}, ${answer.text.length} characters`;
}

function maskAnswer(answer: CustomerAnswer, context: Context): CustomerAnswer {
  const maskSection = (section: AnswerSection): AnswerSection =>
    section.errors.length === 0
      ? section
      : { ...section, errors: section.errors.map((error) => mask(error, context)) };

  return {
    refusal: answer.refusal === null ? null : mask(answer.refusal, context),
    customer: maskSection(answer.customer),
    branch: maskSection(answer.branch),
    tier: maskSection(answer.tier),
    crew: maskSection(answer.crew),
  };
}

function accepted(httpStatus: number, answer: CustomerAnswer, body?: unknown): ApiResult {
  return { kind: "accepted", httpStatus, answer, body };
}

type Failed = Extract<ApiResult, { kind: "failed" }>;

function failed(failure: ApiFailure): Failed {
  return { kind: "failed", failure };
}

function observedResult(result: CallResult) {
  if (result.kind === "failed") {
    return result.failure.errorClass === "server" ? "server_error" : result.failure.errorClass;
  }
  if (result.kind === "answered") {
    const isRefused = result.found.kind === "unclear" && (result.httpStatus ?? 0) >= 300;
    return isRefused ? "rejected" : "ok";
  }

  const { customer, branch, tier, crew } = result.answer;
  return [customer, branch, tier, crew].some((section) => section.failed > 0) ? "partial" : "ok";
}
