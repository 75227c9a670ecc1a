/**
 * One request for a token by OAuth2 client credentials (RFC 6749, section 4.4).
 *
 * oauth4webapi builds the request and judges the answer; our exchange carries it, so that the bounds of every other request hold here
 * too. Three departures from the RFC, which token endpoints need:
 * - Style `json` sends `{"scope": …}` instead of the form.
 * - The client id and secret go into the Basic header as they are, which most servers expect. The RFC wants them form-encoded; where
 *   that makes a difference and the plain form is refused, the encoded one is tried too.
 * - Any 2xx is taken, and a missing `token_type` means Bearer.
 */
import * as oauth from "oauth4webapi";
import type { Observe } from "../ops/observe.ts";
import type { ClientCredentials, FailedResult } from "./customer-api.ts";
import type { Exchange, HttpResult } from "./exchange.ts";
import { toRequestResult } from "./failure.ts";
import { type TokenRefusal, toTokenFailure } from "./token-failure.ts";

export interface TokenEndpointOptions {
  readonly exchange: Exchange;
  readonly timeoutMs: number;
  readonly userAgent: string;
  readonly observe: Pick<Observe, "apiRequest">;
}

export type FetchedToken =
  | { readonly kind: "token"; readonly token: string; readonly expiresInSeconds: number }
  | FailedResult;

export async function requestToken(
  options: TokenEndpointOptions,
  auth: ClientCredentials,
): Promise<FetchedToken> {
  const plain = await requestTokenOnce(options, auth, plainBasic(auth));
  if (plain.kind === "token" || plain.failure.errorClass !== "unauthorized") return plain;
  if (encodesAlike(auth.clientId) && encodesAlike(auth.clientSecret)) return plain;

  const encoded = await requestTokenOnce(options, auth, oauth.ClientSecretBasic(auth.clientSecret));
  return encoded.kind === "token" ? encoded : plain;
}

async function requestTokenOnce(
  options: TokenEndpointOptions,
  auth: ClientCredentials,
  authentication: oauth.ClientAuth,
): Promise<FetchedToken> {
  let seen: HttpResult | null = null;
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
  let fetched: FetchedToken;
  try {
    const response = await oauth.clientCredentialsGrantRequest(
      server,
      client,
      authentication,
      auth.scope === null ? {} : { scope: auth.scope },
      {
        [oauth.customFetch]: carry as never,
        // Whether http is allowed was decided with the connection (allowed-url.ts), for the base URL and the token URL alike.
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
    fetched = { kind: "failed", failure: toTokenFailure(auth, seen, toRefusal(error)) };
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

/** Whether form-encoding makes no difference: these characters stay as they are, or are read the same either way. */
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

/** As oauth4webapi accepts it: any 2xx as 200, Bearer for a missing type, no `expires_in` for a null one. */
function toResponse(outcome: HttpResult): Response {
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

function toRefusal(error: unknown): TokenRefusal {
  if (error instanceof oauth.ResponseBodyError) {
    const words = [error.error, error.error_description].filter((word) => word !== undefined);
    return {
      said: words.join(": "),
      knownCode: KNOWN_ERRORS.has(error.error) ? error.error : null,
    };
  }
  // The library's own words; a SyntaxError would quote the answer.
  const isOwnError =
    error instanceof oauth.OperationProcessingError ||
    error instanceof oauth.UnsupportedOperationError;
  return { said: isOwnError ? error.message : "with an answer that is no token", knownCode: null };
}

/** RFC 6749, section 5.2. */
const KNOWN_ERRORS: ReadonlySet<string> = new Set([
  "invalid_request",
  "invalid_client",
  "invalid_grant",
  "unauthorized_client",
  "unsupported_grant_type",
  "invalid_scope",
]);

function observeToken(
  options: TokenEndpointOptions,
  outcome: HttpResult | null,
  fetched: FetchedToken,
): void {
  if (outcome === null) return;

  options.observe.apiRequest({
    operation: "token",
    result: fetched.kind === "token" ? "ok" : toRequestResult(fetched.failure),
    durationMs: outcome.durationMs,
  });
}

const NEVER = new AbortController().signal;
