/**
 * The requests to the API: which path, which headers, which body. Knows neither how a request is sent nor what its answer means. The
 * request to the token endpoint is in token-request.ts.
 */
import type { ApiConnection, ApiFailure, ApiRequest, LookupRequest } from "./customer-api.ts";
import type { HttpRequest } from "./exchange.ts";

/** A request to the API before it has a token. */
export interface ApiCall {
  readonly operation: ApiRequest["operation"] | "lookup";
  readonly method: HttpRequest["method"];
  /** As it is requested, with the ids in it. */
  readonly path: string;
  /** As it is configured, without the ids. */
  readonly pathTemplate: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string | null;
  /** JSON text of the command it is about, which the API's messages may quote. */
  readonly command: string | null;
  readonly mayBegin: () => boolean;
  readonly signal: AbortSignal;
}

export function toCommandCall(connection: ApiConnection, request: ApiRequest): ApiCall {
  const { method, pathTemplate } = toRoute(connection, request.operation);
  const id = encodeURIComponent(request.externalId ?? "");
  return {
    operation: request.operation,
    method,
    path: pathTemplate.replaceAll("{id}", () => id),
    pathTemplate,
    headers: {
      "idempotency-key": request.idempotencyKey,
      "x-sync-generation": request.generation,
    },
    body: request.body,
    command: request.body,
    mayBegin: request.mayBegin,
    signal: request.signal,
  };
}

function toRoute(
  connection: ApiConnection,
  operation: ApiRequest["operation"],
): Pick<ApiCall, "method" | "pathTemplate"> {
  switch (operation) {
    case "create":
      return { method: connection.createMethod, pathTemplate: connection.createPath };
    case "update":
      return { method: connection.updateMethod, pathTemplate: connection.updatePath };
    case "delete":
      return { method: "DELETE", pathTemplate: connection.updatePath };
    default:
      throw new Error(`unknown operation: ${operation satisfies never}`);
  }
}

/** The failure of a request that cannot be sent; null when it can. */
export function findImpossible(request: ApiRequest): ApiFailure | null {
  if (request.operation === "create") return null;
  if (request.externalId !== null && canStandInPath(request.externalId)) return null;

  return {
    errorClass: "rejected",
    delivery: "not_sent",
    countsAsAttempt: true,
    httpStatus: null,
    message: `${request.operation} needs an external id that can stand in a URL; correct the row's uuid_be`,
    retryAfterMs: null,
  };
}

/** `.` and `..` lead to another path, and no encoding keeps a URL parser from that. */
function canStandInPath(value: string): boolean {
  return !/^\.{0,2}$/.test(value);
}

/** null when the account lacks what the path asks for, or has it in a form that no URL can carry. */
export function toLookupCall(connection: ApiConnection, request: LookupRequest): ApiCall | null {
  const path = toLookupPath(connection, request);
  if (path === null) return null;
  return {
    operation: "lookup",
    method: "GET",
    path,
    pathTemplate: connection.lookupPath ?? "",
    // Without an idempotency key: repeating a read is harmless, and the key belongs to the create.
    headers: {},
    body: null,
    command: request.body,
    mayBegin: request.mayBegin,
    signal: request.signal,
  };
}

function toLookupPath(connection: ApiConnection, request: LookupRequest): string | null {
  const values = { account_no: request.accountNo.trim(), account_id: request.accountId };
  let path = connection.lookupPath;
  for (const [name, value] of Object.entries(values)) {
    if (path === null || !path.includes(`{${name}}`)) continue;
    if (!canStandInPath(value)) return null;
    path = path.replaceAll(`{${name}}`, () => encodeURIComponent(value));
  }
  return path;
}

/** The request as it is sent, with our headers and those of the configuration. */
export function toHttpRequest(
  { userAgent, timeoutMs }: { readonly userAgent: string; readonly timeoutMs: number },
  connection: ApiConnection,
  call: Pick<ApiCall, "method" | "path" | "headers" | "body" | "mayBegin" | "signal">,
  token: string | null,
): HttpRequest {
  return {
    method: call.method,
    url: connection.baseUrl + call.path,
    headers: {
      ...toExtraHeaders(connection, token),
      ...(token === null ? {} : { authorization: `Bearer ${token}` }),
      // A DELETE has no body, and servers refuse an empty one that claims to be JSON.
      ...(call.body === null ? {} : { "content-type": "application/json" }),
      "accept-encoding": "identity",
      ...call.headers,
      "user-agent": userAgent,
    },
    body: call.body,
    timeoutMs,
    mayBegin: call.mayBegin,
    signal: call.signal,
  };
}

function toExtraHeaders(connection: ApiConnection, token: string | null): Record<string, string> {
  const headers: Record<string, string> = { accept: "application/json" };
  for (const [name, value] of Object.entries(connection.headers)) {
    const lowerCased = name.toLowerCase();
    if (OWN_HEADERS.has(lowerCased)) continue;
    // Without a token of ours it is the configuration's own way to authenticate, such as an API key.
    if (lowerCased === "authorization" && token !== null) continue;
    headers[lowerCased] = value;
  }
  return headers;
}

/** The configuration adds headers, but does not set these: they say where the request goes, what it is, and where it ends. */
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

/** Where a request went, for messages: without user, password, query and ids. */
export function describeTarget(connection: ApiConnection, pathTemplate: string): string {
  const url = URL.parse(connection.baseUrl);
  if (url === null) return "(the base URL is not a URL)";

  return `${url.origin}${url.pathname.replace(/\/$/, "")}${pathTemplate.replace(/[?#].*$/, "")}`;
}

/** What of a request must not be repeated in a message. */
export function secretsOf(connection: ApiConnection, token: string | null): string[] {
  const secrets = Object.values(connection.headers);
  if (token !== null) secrets.push(token);
  if (connection.auth.kind === "client_credentials") secrets.push(connection.auth.clientSecret);
  // Short header values are words such as "v2": masked, they would blank out innocent text.
  return secrets.filter((secret) => secret.length >= 8);
}
