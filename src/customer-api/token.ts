/**
 * Bearer tokens by OAuth2 client credentials: one request at a time per client, kept until shortly before they expire.
 *
 * oauth4webapi builds the request and judges the answer; our exchange carries it, so that the limits of every other request
 * hold here too. Three departures from the book, because of servers in the field:
 * - Style `json` sends `{"scope": …}` instead of the form.
 * - The client id and secret go into the Basic header as they are, which most servers expect. RFC 6749 wants them form-encoded;
 *   where that makes a difference and the plain form is refused, the encoded one is tried too.
 * - Any 2xx is taken, and a missing `token_type` means Bearer.
 */
import * as oauth from "oauth4webapi";

import type { Observe } from "../ops/observe.ts";
import type { ApiAuth, ApiFailure, FailedResult } from "./customer-api.ts";
import type { Exchange, HttpOutcome } from "./exchange.ts";
import {
  CHECK_TOKEN_SETTINGS,
  errorVerdict,
  retryAfterMs,
  statusVerdict,
  toRequestResult,
} from "./failure.ts";
import { maskPersonal } from "./mask.ts";

type ClientCredentials = Extract<ApiAuth, { kind: "client_credentials" }>;

type TokenResult = { readonly kind: "token"; readonly token: string } | FailedResult;

export interface Tokens {
  /** `signal` gives up the wait, not the request: others may be waiting for it. */
  get(auth: ClientCredentials, signal: AbortSignal): Promise<TokenResult>;
  /** The API refused this token. A newer one that somebody else fetched meanwhile stays. */
  invalidate(auth: ClientCredentials, token: string): void;
  /** Whether a refusal without a reason may be about this token: it is not the newest, or it is not new. */
  maySuspect(auth: ClientCredentials, token: string): boolean;
}

export interface TokensOptions {
  readonly exchange: Exchange;
  readonly timeoutMs: number;
  readonly userAgent: string;
  readonly observe: Pick<Observe, "apiRequest">;
  readonly now: () => number;
  readonly random: () => number;
}

interface CachedToken {
  readonly token: string;
  readonly fetchedAt: number;
  readonly expiresAt: number;
  /** From here on a new one is fetched; the old one still serves when that fails. */
  refreshAt: number;
}

interface Entry {
  cached: CachedToken | null;
  fetching: Promise<TokenResult> | null;
}

/** Configurations come and go; a token costs one request. */
const ENTRIES_MAX = 100;
/** A token that is younger has not expired. Who may not do a thing is told so again and again, and must not fetch a token each time. */
const SUSPECT_AFTER_MS = 60_000;
/** A token endpoint in trouble is asked this often while the old token still serves. */
const REFRESH_PAUSE_MS = 1_000;

export function createTokens(options: TokensOptions): Tokens {
  const entries = new Map<string, Entry>();

  function entryOf(auth: ClientCredentials): Entry {
    const identity = JSON.stringify([
      auth.tokenUrl,
      auth.clientId,
      auth.clientSecret,
      auth.scope,
      auth.style,
    ]);
    const entry = entries.get(identity) ?? { cached: null, fetching: null };
    // Most recently used last, so that the first one is the one to forget.
    entries.delete(identity);
    entries.set(identity, entry);
    for (const oldest of entries.keys()) {
      if (entries.size <= ENTRIES_MAX) break;
      entries.delete(oldest);
    }
    return entry;
  }

  async function refresh(auth: ClientCredentials, entry: Entry): Promise<TokenResult> {
    const outcome = await requestToken(options, auth);
    if (outcome.kind === "failed") {
      const { cached } = entry;
      if (cached === null || cached.expiresAt <= options.now()) return outcome;

      cached.refreshAt = options.now() + REFRESH_PAUSE_MS;
      return { kind: "token", token: cached.token };
    }

    const lifetimeMs = outcome.expiresInSeconds * 1000;
    // A tenth of the life, at most a minute, spread so that replicas do not refresh together.
    const marginMs = Math.min(lifetimeMs / 10, 60_000) * (0.5 + options.random() / 2);
    const fetchedAt = options.now();
    const expiresAt = fetchedAt + lifetimeMs;
    const refreshAt = expiresAt - marginMs;
    entry.cached = { token: outcome.token, fetchedAt, expiresAt, refreshAt };
    return { kind: "token", token: outcome.token };
  }

  return {
    async get(auth, signal) {
      const entry = entryOf(auth);
      if (entry.cached !== null && options.now() < entry.cached.refreshAt) {
        return { kind: "token", token: entry.cached.token };
      }

      entry.fetching ??= refresh(auth, entry).finally(() => {
        entry.fetching = null;
      });
      return giveUpOn(signal, entry.fetching);
    },

    invalidate(auth, token) {
      const entry = entryOf(auth);
      if (entry.cached?.token === token) entry.cached = null;
    },

    maySuspect(auth, token) {
      const { cached } = entryOf(auth);
      return cached?.token !== token || options.now() - cached.fetchedAt >= SUSPECT_AFTER_MS;
    },
  };
}

/** The token for a request; null for an API without one. */
export async function authorize(
  tokens: Pick<Tokens, "get">,
  auth: ApiAuth,
  signal: AbortSignal,
): Promise<{ readonly kind: "token"; readonly token: string | null } | FailedResult> {
  switch (auth.kind) {
    case "none":
      return { kind: "token", token: null };
    case "static":
      return { kind: "token", token: auth.token };
    case "client_credentials":
      return tokens.get(auth, signal);
    default:
      throw new Error(`unknown kind of authorization: ${auth satisfies never}`);
  }
}

type Fetched =
  | { readonly kind: "token"; readonly token: string; readonly expiresInSeconds: number }
  | FailedResult;

async function requestToken(options: TokensOptions, auth: ClientCredentials): Promise<Fetched> {
  const plain = await requestTokenOnce(options, auth, plainBasic(auth));
  if (plain.kind === "token" || plain.failure.errorClass !== "unauthorized") return plain;
  if (encodesAlike(auth.clientId) && encodesAlike(auth.clientSecret)) return plain;

  const encoded = await requestTokenOnce(options, auth, oauth.ClientSecretBasic(auth.clientSecret));
  return encoded.kind === "token" ? encoded : plain;
}

async function requestTokenOnce(
  options: TokensOptions,
  auth: ClientCredentials,
  authentication: oauth.ClientAuth,
): Promise<Fetched> {
  let seen: HttpOutcome | null = null;
  const carry = async (
    url: string,
    init: { body: URLSearchParams; headers: Record<string, string> },
  ) => {
    seen = await options.exchange({
      method: "POST",
      url,
      headers: tokenHeaders(init.headers, auth, options.userAgent),
      body: auth.style === "json" ? jsonBody(auth) : init.body.toString(),
      timeoutMs: options.timeoutMs,
      signal: NEVER,
    });
    return toResponse(seen);
  };

  const server = { issuer: auth.tokenUrl, token_endpoint: auth.tokenUrl };
  const client = { client_id: auth.clientId };
  let fetched: Fetched;
  try {
    const response = await oauth.clientCredentialsGrantRequest(
      server,
      client,
      authentication,
      auth.scope === null ? {} : { scope: auth.scope },
      {
        [oauth.customFetch]: carry as never,
        // Whether plain http is allowed is decided where connections are made, once, for the base URL and the token URL alike.
        [oauth.allowInsecureRequests]: true,
      },
    );
    const answer = await oauth.processClientCredentialsResponse(server, client, response);
    fetched = {
      kind: "token",
      token: answer.access_token,
      expiresInSeconds: answer.expires_in ?? auth.defaultExpiresInSeconds,
    };
  } catch (error) {
    fetched = { kind: "failed", failure: toTokenFailure(auth, seen, error) };
  }

  observeToken(options, seen, fetched);
  return fetched;
}

function plainBasic(auth: ClientCredentials): oauth.ClientAuth {
  const credentials = Buffer.from(`${auth.clientId}:${auth.clientSecret}`).toString("base64");
  return (_server, _client, _body, headers) => {
    headers.set("authorization", `Basic ${credentials}`);
  };
}

/** Form-encoding leaves these letters alone, or servers that decode read them either way. */
function encodesAlike(text: string): boolean {
  return /^[\w.~!*'()-]*$/.test(text);
}

function tokenHeaders(
  headers: Record<string, string>,
  auth: ClientCredentials,
  userAgent: string,
): Record<string, string> {
  return {
    ...headers,
    "user-agent": userAgent,
    "accept-encoding": "identity",
    ...(auth.style === "json" ? { "content-type": "application/json" } : {}),
  };
}

function jsonBody(auth: ClientCredentials): string {
  return JSON.stringify(auth.scope === null ? {} : { scope: auth.scope });
}

/** What the library judges: 2xx become 200, a missing type becomes Bearer, a null `expires_in` a missing one. */
function toResponse(outcome: HttpOutcome): Response {
  if (outcome.kind === "broken") throw new Error("no answer");

  const ok = outcome.status >= 200 && outcome.status < 300;
  const headers = { "content-type": outcome.header("content-type") ?? "text/plain" };
  if (!ok) return new Response(outcome.text, { status: outcome.status, headers });

  const answer: unknown = JSON.parse(outcome.text);
  if (typeof answer !== "object" || answer === null) return Response.json(answer);

  const { expires_in, ...rest } = answer as Record<string, unknown>;
  return Response.json({
    token_type: "Bearer",
    ...rest,
    ...(expires_in === null || expires_in === undefined ? {} : { expires_in }),
  });
}

function toTokenFailure(
  auth: ClientCredentials,
  outcome: HttpOutcome | null,
  error: unknown,
): ApiFailure {
  const endpoint = `the token endpoint ${toEndpoint(auth.tokenUrl)}`;
  if (outcome === null) {
    return tokenFailure(
      "unauthorized",
      null,
      `${endpoint} cannot be asked; check CUSTOMER_API_TOKEN_URL`,
    );
  }
  if (outcome.kind === "broken") {
    const verdict = errorVerdict(outcome.code, outcome.written);
    return tokenFailure(
      verdict.errorClass,
      outcome.status,
      withHint(`${endpoint} gave no token: ${outcome.code}`, verdict.hint),
    );
  }

  const verdict = statusVerdict(outcome.status);
  const passes =
    outcome.status >= 300 &&
    verdict.errorClass !== "rejected" &&
    verdict.errorClass !== "unauthorized";
  if (passes) {
    const retryAfter = retryAfterMs(outcome.header("retry-after"), Date.now());
    const message = withHint(`${endpoint} answered ${outcome.status}`, verdict.hint);
    return tokenFailure(verdict.errorClass, outcome.status, message, retryAfter);
  }

  // Everything else stays wrong until somebody changes the configuration, for all accounts alike.
  const said = maskPersonal(errorWords(error), null, [auth.clientSecret]);
  const advice = `; ${CHECK_TOKEN_SETTINGS}`;
  const what = `${endpoint} gave no token`;
  return {
    ...tokenFailure("unauthorized", outcome.status, `${what} (${outcome.status} ${said})${advice}`),
    ownWords: `${what} (${[outcome.status, ...knownErrorOf(error)].join(" ")})${advice}`,
  };
}

function withHint(message: string, hint: string): string {
  return hint === "" ? message : `${message}, ${hint}`;
}

/** RFC 6749, section 5.2. Any other code is the endpoint's own text. */
const KNOWN_ERRORS: ReadonlySet<string> = new Set([
  "invalid_request",
  "invalid_client",
  "invalid_grant",
  "unauthorized_client",
  "unsupported_grant_type",
  "invalid_scope",
]);

function knownErrorOf(error: unknown): string[] {
  const code = error instanceof oauth.ResponseBodyError ? error.error : "";
  return KNOWN_ERRORS.has(code) ? [code] : [];
}

function errorWords(error: unknown): string {
  if (error instanceof oauth.ResponseBodyError) {
    return [error.error, error.error_description].filter((word) => word !== undefined).join(": ");
  }
  // The library's own words; a SyntaxError would quote the answer.
  if (error instanceof oauth.OperationProcessingError) return error.message;
  if (error instanceof oauth.UnsupportedOperationError) return error.message;
  return "with an answer that is no token";
}

function tokenFailure(
  errorClass: ApiFailure["errorClass"],
  httpStatus: number | null,
  message: string,
  retryAfter: number | null = null,
): ApiFailure {
  return {
    errorClass,
    // Whatever happened to the token request, the command itself never left.
    delivery: "not_sent",
    countsAsAttempt: false,
    httpStatus,
    message,
    ownWords: message,
    retryAfterMs: retryAfter,
  };
}

/** Without user, password and query, which may hold secrets. */
function toEndpoint(url: string): string {
  const parsed = URL.parse(url);
  return parsed === null ? "(not a URL)" : `${parsed.origin}${parsed.pathname}`;
}

function observeToken(options: TokensOptions, outcome: HttpOutcome | null, fetched: Fetched): void {
  if (outcome === null) return;

  options.observe.apiRequest({
    operation: "token",
    result: fetched.kind === "token" ? "ok" : toRequestResult(fetched.failure),
    durationMs: outcome.durationMs,
  });
}

function giveUpOn(signal: AbortSignal, fetching: Promise<TokenResult>): Promise<TokenResult> {
  return new Promise((resolve, reject) => {
    const onAbort = () => {
      resolve({
        kind: "failed",
        failure: {
          ...tokenFailure("network", null, "given up while waiting for a token"),
          isGivenUp: true,
        },
      });
    };
    if (signal.aborted) onAbort();
    else signal.addEventListener("abort", onAbort, { once: true });

    fetching.then(resolve, reject).finally(() => signal.removeEventListener("abort", onAbort));
  });
}

const NEVER = new AbortController().signal;
