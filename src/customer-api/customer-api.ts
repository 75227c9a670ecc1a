import type { CustomerAnswer } from "./answer.ts";
import type { Found } from "./lookup.ts";

/**
 * What the sync asks of a customer API. `client.ts` is the one that speaks HTTP; the simulation brings its own.
 */
export interface CustomerApi {
  /**
   * Sends one command and resolves with what is known about it afterwards. Never rejects for anything the network, the API or
   * its token endpoint can do.
   */
  send(connection: ApiConnection, request: ApiRequest): Promise<ApiResult>;
  /** Asks whether the customer of a create is there. Never rejects either; changes nothing at the API. */
  lookUp(connection: ApiConnection, request: LookupRequest): Promise<LookupResult>;
  /** The API asked another replica to be left alone for so long: nothing is sent to it from here either. */
  hold(connection: ApiConnection, forMs: number): void;
}

/** Where and as whom to send: from the environment or a row of `m_backend_ext_config`. */
export interface ApiConnection {
  /** Id of the configuration row; null when it comes from the environment. */
  readonly configId: string | null;
  /** Without a trailing slash. */
  readonly baseUrl: string;
  readonly createMethod: "POST" | "PUT" | "PATCH";
  readonly createPath: string;
  readonly updateMethod: "PUT" | "PATCH" | "POST";
  /** Contains `{id}`, replaced by the customer's external id, percent-encoded. */
  readonly updatePath: string;
  /** Contains `{account_no}` or `{account_id}`, percent-encoded; null where nobody is looked up. */
  readonly lookupPath: string | null;
  readonly auth: ApiAuth;
  /** Extra headers; may never override authorization, host, content-length, idempotency-key. */
  readonly headers: Readonly<Record<string, string>>;
}

/** There is no such configuration, or it may not be used. */
export interface UnusableConnection {
  /** Why, and what to do. */
  readonly error: string;
}

export type ApiAuth =
  | { readonly kind: "none" }
  | { readonly kind: "static"; readonly token: string }
  | ClientCredentials;

/** OAuth2. */
export interface ClientCredentials {
  readonly kind: "client_credentials";
  readonly tokenUrl: string;
  readonly clientId: string;
  readonly clientSecret: string;
  readonly scope: string | null;
  readonly style: "form" | "json";
  /** Seconds to assume when the answer with the token has no `expires_in`. */
  readonly defaultExpiresInSeconds: number;
}

export interface ApiRequest {
  readonly operation: "create" | "update" | "delete";
  /** The customer's external id; null on create. */
  readonly externalId: string | null;
  /** Exact JSON text to send; null on delete. */
  readonly body: string | null;
  readonly idempotencyKey: string;
  /** Sent as `X-Sync-Generation`. A bigint column, so text. */
  readonly generation: string;
  /**
   * Asked the moment before the request is written to a socket, which may be long after it was asked for: a token, a connect, a
   * process that was paused. False gives it up, not sent.
   */
  readonly mayBegin: () => boolean;
  /** Aborting gives up the request: the result is a failure whose delivery says what is known. */
  readonly signal: AbortSignal;
}

/** The create that is looked for, as it was sent. */
export interface LookupRequest {
  readonly accountId: string;
  /** Its `branch.code`; blank when the account has no number. */
  readonly accountNo: string;
  readonly referenceField: string | null;
  readonly body: string;
  readonly idempotencyKey: string;
  readonly mayBegin: () => boolean;
  readonly signal: AbortSignal;
}

export type ApiResult =
  | {
      readonly kind: "accepted";
      readonly httpStatus: number;
      readonly answer: CustomerAnswer;
      /** What it answered, as JSON; absent without a body. */
      readonly body?: unknown;
    }
  | FailedResult;

export type LookupResult =
  | {
      readonly kind: "answered";
      /** null when the account has nothing that it could be asked for by, so nothing was asked. */
      readonly httpStatus: number | null;
      readonly found: Found;
    }
  | FailedResult;

export interface FailedResult {
  readonly kind: "failed";
  readonly failure: ApiFailure;
}

export interface ApiFailure {
  readonly errorClass: "rejected" | "unauthorized" | "throttled" | "server" | "network" | "timeout";
  /**
   * What became of the command:
   * `not_sent`: no byte of it reached the server (refused, DNS, connect timeout, certificate, breaker open, no token);
   * `not_applied`: the API answered that it did not take it (a parsed 4xx, 429, 503);
   * `unknown`: it may have been applied (everything else once the connection stood).
   */
  readonly delivery: "not_sent" | "not_applied" | "unknown";
  /** False when the failure says nothing about this account (breaker open, unauthorized, throttled): no attempt is used up. */
  readonly countsAsAttempt: boolean;
  readonly httpStatus: number | null;
  /** It was given up on our side: that says nothing about the API. */
  readonly isGivenUp?: boolean;
  /** One line, personal values and secrets masked. */
  readonly message: string;
  /** The same without any text of the API, for what is told of others than this account; absent where `message` has none. */
  readonly ownWords?: string;
  /** From Retry-After or the breaker: not before this many milliseconds. */
  readonly retryAfterMs: number | null;
}
