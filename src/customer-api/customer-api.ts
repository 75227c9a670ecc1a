import type { CustomerAnswer } from "./answer.ts";
import type { Found, WantedCustomer } from "./lookup.ts";

/** What the sync asks of a customer API. `client.ts` implements it over HTTP; the simulation has an implementation of its own. */
export interface CustomerApi {
  /**
   * Sends one command and resolves with what is known about it afterwards. Never rejects for anything the network, the API or
   * its token endpoint can do.
   */
  send(connection: ApiConnection, request: ApiRequest): Promise<ApiResult>;
  /** Asks whether the customer of a create is there. Changes nothing at the API; never rejects, as `send`. */
  lookUp(connection: ApiConnection, request: LookupRequest): Promise<LookupResult>;
  /** The API asked another replica to wait this long: this one sends nothing to it either. */
  startWait(connection: ApiConnection, forMs: number): void;
}

/** Where to send, and with which credentials: from the environment, or a row of `m_backend_ext_config`. */
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
  /** Contains `{account_no}` or `{account_id}`, percent-encoded; null where customers are not looked up. */
  readonly lookupPath: string | null;
  readonly auth: ApiAuth;
  /** Extra headers. Those that the client sets itself are ignored, and authorization where there is a token (request.ts). */
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
   * Called right before the request is written to a socket. That may be long after `send`: it waits for a token and a connection, and
   * the process may have been stopped meanwhile. False gives the request up, not sent.
   */
  readonly mayBegin: () => boolean;
  /** Aborting gives the request up: the result is a failure, whose delivery says what is known. */
  readonly signal: AbortSignal;
}

/** The create whose customer is looked for, as it was sent. */
export interface LookupRequest extends WantedCustomer {
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
      /** The parsed body; absent when there was none to read. */
      readonly body?: unknown;
    }
  | FailedResult;

export type LookupResult =
  | {
      readonly kind: "answered";
      /** null when nothing was asked, as the account lacks what the path contains. */
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
   * `not_sent`: no byte of it reached the server (refused, DNS, connect timeout, certificate, circuit open, no token);
   * `not_applied`: the API answered that it did not take it (a 4xx such as 422, 429, and what CUSTOMER_API_NOT_APPLIED_STATUSES lists);
   * `unknown`: it may have been applied (everything else once the connection stood).
   */
  readonly delivery: "not_sent" | "not_applied" | "unknown";
  /** False when the failure says nothing about this account (circuit open, unauthorized, throttled): no attempt is used up. */
  readonly countsAsAttempt: boolean;
  readonly httpStatus: number | null;
  /** It was given up on our side, which says nothing about the API. */
  readonly isGivenUp?: boolean;
  /**
   * A 5xx that seems to be about this send: the API works otherwise. Never set for an outage, however that shows (src/customer-api/circuit.ts).
   */
  readonly isAboutSend?: boolean;
  /** One line, personal values and secrets masked. */
  readonly message: string;
  /** The same without any text of the API, which may be shown outside this account; absent where that is not known. */
  readonly ownWords?: string;
  /** The API's error as it answered it, masked and bounded, for a caller that waits; absent where it answered none. */
  readonly answered?: Readonly<Record<string, unknown>>;
  /** From Retry-After or the circuit: not before this many milliseconds. */
  readonly retryAfterMs: number | null;
}
