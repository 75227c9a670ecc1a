/**
 * What went wrong → what it means. Pure tables: an HTTP status or a network error code becomes a class (what happens next) and
 * a delivery (what became of the command). A code that is not listed means an unknown outcome once the request was written: a
 * create that was applied and is taken for lost makes a second customer.
 *
 * A 503 is an unknown outcome, too: a router answers it for a server that died after it had read the request, or that is only slow. Of
 * the statuses that may pass, only 429 says by itself that nothing was applied.
 */
import type { ApiFailure } from "./customer-api.ts";

export interface Verdict {
  readonly errorClass: ApiFailure["errorClass"];
  readonly delivery: ApiFailure["delivery"];
  /** What it means or what to do, for the end of a message; empty when the API's own message is enough. */
  readonly hint: string;
}

/**
 * Verdict on an answer that is not a success.
 *
 * @param promisedNotApplied statuses by which this API promises that it did nothing, besides 429
 */
export function statusVerdict(status: number, promisedNotApplied: readonly number[] = []): Verdict {
  const verdict = BY_STATUS[status] ?? BY_HUNDRED[Math.floor(status / 100)] ?? STRANGE_STATUS;
  return promisedNotApplied.includes(status) ? { ...verdict, delivery: "not_applied" } : verdict;
}

/** Whether an API can promise that it did nothing by this status: an error that may pass. Other refusals count as not applied anyway. */
export function canPromiseNotApplied(status: number): boolean {
  return [408, 425, 429].includes(status) || (status >= 500 && status <= 599);
}

/**
 * Verdict on an exchange without an answer.
 *
 * @param written whether the request was handed to a connected socket; before that it cannot have reached the server
 */
export function errorVerdict(code: string, written: boolean): Verdict {
  const verdict = BY_CODE[code] ?? byCodeFamily(code);
  return written ? verdict : { ...verdict, delivery: "not_sent" };
}

/** The code of an error: its own, its cause's, or that of the first error of an AggregateError (one for each address tried). */
export function networkErrorCode(error: unknown): string {
  for (let current = error, depth = 0; depth < 4 && isObject(current); depth++) {
    if (typeof current["code"] === "string") return current["code"];

    const inner: unknown = current["errors"];
    current = Array.isArray(inner) && inner.length > 0 ? inner[0] : current["cause"];
  }
  return "UNKNOWN";
}

/** False when a failure of this class says nothing about the account: no attempt is used up. */
export function usesUpAttempt(errorClass: ApiFailure["errorClass"]): boolean {
  return errorClass !== "unauthorized" && errorClass !== "throttled";
}

/** The result of the failed request in the metrics. */
export function toRequestResult({ errorClass }: ApiFailure) {
  return errorClass === "server" ? "server_error" : errorClass;
}

/** Whether the messages of a 403 are about the token: many gateways answer 403 instead of 401 to one that expired. */
export function mentionsToken(messages: readonly string[]): boolean {
  return messages.some((message) => TOKEN_WORDS.test(message));
}

const TOKEN_WORDS =
  /\b(?:access[ _-]?tokens?|tokens?|jwt|bearer|invalid_token|unauthori[sz]ed|unauthenticated|authentication|authenticated|session expired|credentials?)\b/i;

/** A server that asks for a longer wait is asked again after this: a mistake in its Retry-After must not stop the sending for hours. */
const RETRY_AFTER_MAX_MS = 15 * 60_000;

/** Retry-After in seconds or as an HTTP date, in milliseconds from `nowMs`; null when absent or unreadable. */
export function retryAfterMs(header: string | null, nowMs: number): number | null {
  const value = header?.trim() ?? "";
  if (/^\d{1,10}(?:\.\d+)?$/.test(value)) return toBoundedWaitMs(Number(value) * 1000);

  // Date.parse makes a date of nearly anything ("-5" too), so only what looks like an HTTP date gets there.
  if (!/^(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)[a-z]*,? /.test(value)) return null;

  const at = Date.parse(value);
  return Number.isNaN(at) ? null : toBoundedWaitMs(at - nowMs);
}

function toBoundedWaitMs(ms: number): number {
  return Math.min(Math.max(Math.ceil(ms), 0), RETRY_AFTER_MAX_MS);
}

/** What to do when the token endpoint refuses our client. */
export const CHECK_TOKEN_SETTINGS =
  "check CUSTOMER_API_CLIENT_ID, CUSTOMER_API_CLIENT_SECRET, CUSTOMER_API_SCOPE, CUSTOMER_API_TOKEN_URL and CUSTOMER_API_TOKEN_STYLE, or the m_backend_ext_config row";

const CHECK_CREDENTIALS =
  "all sends wait; check CUSTOMER_API_TOKEN, or CUSTOMER_API_CLIENT_ID and CUSTOMER_API_CLIENT_SECRET, or the m_backend_ext_config row";

const BY_STATUS: Readonly<Record<number, Verdict>> = {
  // The only redirect that is sent after a request was carried out: the result is elsewhere.
  303: rejected("unknown", "redirects are not followed, and this one may mean that it was applied"),
  401: unauthorized(CHECK_CREDENTIALS),
  403: rejected("not_applied", "our client may not do this; ask the API's operator"),
  404: rejected("not_applied", "no such customer, or CUSTOMER_API_PATH is wrong"),
  405: rejected("not_applied", "check CUSTOMER_API_UPDATE_METHOD and the paths"),
  407: unauthorized("a proxy on the way wants credentials"),
  // By RFC 9110 the request did not arrive whole, but gateways answer it for a slow API, too.
  408: { errorClass: "timeout", delivery: "unknown", hint: "the server gave up waiting" },
  413: rejected("not_applied", "the command is too large for the API or a proxy before it"),
  // Some frameworks (419) and gateways (498) answer these instead of 401 to a token that is expired or invalid.
  419: unauthorized(CHECK_CREDENTIALS),
  // Too early: nothing is wrong with the request. By RFC 8470 it was not carried out, but what answers need not be the API.
  425: { errorClass: "server", delivery: "unknown", hint: "the server wants it later" },
  429: { errorClass: "throttled", delivery: "not_applied", hint: "all sends wait" },
  498: unauthorized(CHECK_CREDENTIALS),
  502: { errorClass: "server", delivery: "unknown", hint: "a gateway lost the API's answer" },
  503: { errorClass: "server", delivery: "unknown", hint: "the API is not available" },
  504: { errorClass: "server", delivery: "unknown", hint: "a gateway gave up waiting for the API" },
};

const BY_HUNDRED: Readonly<Record<number, Verdict>> = {
  3: rejected(
    "not_applied",
    "redirects are not followed; check CUSTOMER_API_URL (base_url) and CUSTOMER_API_PATH",
  ),
  4: rejected("not_applied", ""),
  5: { errorClass: "server", delivery: "unknown", hint: "" },
};

const STRANGE_STATUS = network("unknown", "not a status we know");

const NO_TLS = "what answers there does not speak TLS: speak http there, or https on another port";

const BY_CODE: Readonly<Record<string, Verdict>> = {
  ECONNREFUSED: network("not_sent", "nothing listens there"),
  ENOTFOUND: network("not_sent", "the host name does not resolve"),
  EAI_AGAIN: network("not_sent", "the name server does not answer"),
  UND_ERR_CONNECT_TIMEOUT: { ...timeout("no connection in time"), delivery: "not_sent" },
  ERR_TLS_CERT_ALTNAME_INVALID: network("not_sent", "the certificate is for another host"),
  // Mostly a header of the configuration that cannot be sent. No account causes that, so it counts as an outage.
  UND_ERR_INVALID_ARG: network("not_sent", "the request cannot be built; check the extra headers"),
  ERR_SSL_WRONG_VERSION_NUMBER: network("not_sent", NO_TLS),
  ERR_SSL_PACKET_LENGTH_TOO_LONG: network("not_sent", NO_TLS),
  UND_ERR_CLOSED: network("not_sent", "we are stopping"),
  // Closing the client also ends requests that were written.
  UND_ERR_DESTROYED: network("unknown", "we are stopping"),
  UND_ERR_ABORTED: network("unknown", "given up"),
  GIVEN_UP: network("unknown", "given up on our side"),
  TIMED_OUT: timeout("no complete answer in time; see CUSTOMER_API_TIMEOUT_MS"),
  ETIMEDOUT: timeout("the connection went silent"),
  UND_ERR_HEADERS_TIMEOUT: timeout("no answer in time"),
  UND_ERR_BODY_TIMEOUT: timeout("the answer stopped half-way"),
  // A POST on a stale keep-alive socket ends with it, too; nothing shows whether the server read the request.
  UND_ERR_SOCKET: network("unknown", "the connection broke"),
  ECONNRESET: network("unknown", "the connection was reset"),
  EPIPE: network("unknown", "the connection broke"),
  UND_ERR_RES_EXCEEDED_MAX_SIZE: network("unknown", "the answer is larger than 4 MiB"),
  UND_ERR_HEADERS_OVERFLOW: network("unknown", "the answer's headers are larger than 16 KiB"),
  UND_ERR_RES_CONTENT_LENGTH_MISMATCH: network("unknown", "the answer was cut off"),
};

function byCodeFamily(code: string): Verdict {
  if (code.startsWith("EAI_")) return network("not_sent", "the host name does not resolve");
  if (code.startsWith("HPE_")) return network("unknown", "what came back is not HTTP");
  if (CERTIFICATE_CODE.test(code)) {
    return network("not_sent", "the certificate is not trusted here; see NODE_EXTRA_CA_CERTS");
  }
  if (code.startsWith("ERR_SSL_")) {
    return network(
      "unknown",
      "no TLS connection came about; check that the URL's port speaks https",
    );
  }
  return network("unknown", "");
}

/** OpenSSL's verification results as Node names them. */
const CERTIFICATE_CODE = /CERT|UNABLE_TO_(?:VERIFY|GET)|SELF_SIGNED|HOSTNAME_MISMATCH|INVALID_CA/;

function rejected(delivery: Verdict["delivery"], hint: string): Verdict {
  return { errorClass: "rejected", delivery, hint };
}

function unauthorized(hint: string): Verdict {
  return { errorClass: "unauthorized", delivery: "not_applied", hint };
}

function network(delivery: Verdict["delivery"], hint: string): Verdict {
  return { errorClass: "network", delivery, hint };
}

function timeout(hint: string): Verdict {
  return { errorClass: "timeout", delivery: "unknown", hint };
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null;
}
