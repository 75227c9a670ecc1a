/**
 * The customer API over HTTP: sends one command, or looks a customer up, and resolves with what is known afterwards.
 *
 *     circuit (may it be sent at all?) → token → exchange → judgement
 *
 * A refused token is renewed once, and the same request is repeated once, with its key and body.
 */
import type { Obstacle } from "../obstacle.ts";
import type { Observe } from "../ops/observe.ts";
import { EMPTY_ANSWER } from "./answer.ts";
import { createConnectionCircuits } from "./connection-circuits.ts";
import type {
  ApiConnection,
  ApiResult,
  CustomerApi,
  FailedResult,
  LookupResult,
} from "./customer-api.ts";
import { createExchange, type Exchange, type HttpResult } from "./exchange.ts";
import { toRequestResult } from "./failure.ts";
import { type JudgedRequest, judgeCommand, judgeLookup } from "./judgement.ts";
import {
  type ApiCall,
  describeTarget,
  findImpossible,
  secretsOf,
  toCommandCall,
  toHttpRequest,
  toLookupCall,
} from "./request.ts";
import { authorize, createTokens, type Tokens } from "./token.ts";

export interface CustomerApiOptions {
  /** For one whole request, from the first try to connect to the last byte of the answer. */
  readonly timeoutMs: number;
  /** `account-sync/<version>`. */
  readonly userAgent: string;
  readonly observe: Pick<Observe, "apiRequest" | "circuit">;
  readonly backoff: {
    readonly backoffMinMs: number;
    readonly backoffMaxMs: number;
  };
  /** Statuses by which the API promises that it did nothing; 429 counts in any case. Default: none. */
  readonly promisedNotApplied?: readonly number[];
  /** The API asked all clients to wait this long, so the other daemons have to know. */
  readonly onWaitAsked?: (baseUrl: string, forMs: number) => void;
  /** Monotonic milliseconds. */
  readonly now?: () => number;
  /** 0 to 1. */
  readonly random?: () => number;
}

export interface CustomerApiClient extends CustomerApi {
  /**
   * Milliseconds until a send makes sense, 0 for now: nothing need be claimed before. A hint for all connections together, so 0
   * as soon as one of them may be open to sends.
   */
  available(): number;
  /** How many sends make sense now: after an outage only one, the probe. */
  usefulSends(): number;
  /** What stops the sends of this configuration just now; null when nothing does. */
  findObstacle(configId: string | null): Obstacle | null;
  /** The worst of what stops the sends of all configurations used lately; null as soon as one of them is open to sends. */
  findCommonObstacle(): Obstacle | null;
  /** Breaks off what is still in flight. */
  close(): Promise<void>;
}

/** A token comes quickly or not at all; waiting for it must not use up the time of the request itself. */
export const TOKEN_TIMEOUT_MAX_MS = 30_000;

export function createCustomerApi(options: CustomerApiOptions): CustomerApiClient {
  const now = options.now ?? (() => performance.now());
  const random = options.random ?? Math.random;
  const { observe, userAgent, timeoutMs, promisedNotApplied = [] } = options;

  const { exchange, close } = createExchange({ timeoutMs });
  const tokens = createTokens({
    exchange,
    userAgent,
    observe,
    now,
    random,
    timeoutMs: Math.min(timeoutMs, TOKEN_TIMEOUT_MAX_MS),
  });
  const circuits = createConnectionCircuits({
    ...options.backoff,
    observe,
    now,
    random,
    onWaitAsked: options.onWaitAsked ?? (() => {}),
  });
  const sender: Sender = { exchange, tokens, observe, userAgent, timeoutMs, promisedNotApplied };

  return {
    async send(connection, request) {
      const impossible = findImpossible(request);
      if (impossible !== null) return { kind: "failed", failure: impossible };

      const call = toCommandCall(connection, request);
      return circuits.guard(connection, {
        // An update has a new key each time.
        subject: request.externalId ?? request.idempotencyKey,
        run: () => exchangeAuthorized(sender, connection, call, judgeCommand),
      });
    },

    async lookUp(connection, request) {
      const call = toLookupCall(connection, request);
      if (call === null) return NOTHING_TO_LOOK_FOR;

      let answered: LookupResult | null = null;
      const guarded = await circuits.guard(connection, {
        subject: `lookup ${request.idempotencyKey}`,
        run: async () => {
          const result = await exchangeAuthorized<LookupResult>(
            sender,
            connection,
            call,
            (outcome, judged) => judgeLookup(outcome, judged, request),
          );
          if (result.kind === "failed") return result;
          answered = result;
          // To the circuit any answer is a sign of life, whatever it says.
          return { kind: "accepted", httpStatus: result.httpStatus ?? 0, answer: EMPTY_ANSWER };
        },
      });
      return answered ?? (guarded as FailedResult);
    },

    startWait: (connection, forMs) => circuits.startWait(connection, forMs),
    available: () => circuits.available(),
    usefulSends: () => circuits.usefulSends(),
    findObstacle: (configId) => circuits.findObstacle(configId),
    findCommonObstacle: () => circuits.findCommonObstacle(),
    close,
  };
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

interface Sender {
  readonly exchange: Exchange;
  readonly tokens: Tokens;
  readonly observe: Pick<Observe, "apiRequest">;
  readonly userAgent: string;
  readonly timeoutMs: number;
  readonly promisedNotApplied: readonly number[];
}

type Judge<Result> = (outcome: HttpResult, request: JudgedRequest) => Result;

async function exchangeAuthorized<Result extends ApiResult | LookupResult>(
  sender: Sender,
  connection: ApiConnection,
  call: ApiCall,
  judge: Judge<Result>,
): Promise<Result | FailedResult> {
  const { auth } = connection;
  const first = await exchangeWithToken(sender, connection, call, judge);
  if (auth.kind !== "client_credentials" || first.token === null) return first.result;

  // Most gateways that answer 403 to an expired token say so; some say only "Forbidden".
  const isSuspect = isForbidden(first.result) && sender.tokens.maySuspect(auth, first.token);
  if (!isTokenRefused(first.result) && !isSuspect) return first.result;

  sender.tokens.invalidate(auth, first.token);
  const second = await exchangeWithToken(sender, connection, call, judge);
  return second.result;
}

async function exchangeWithToken<Result extends ApiResult | LookupResult>(
  sender: Sender,
  connection: ApiConnection,
  call: ApiCall,
  judge: Judge<Result>,
): Promise<{ readonly result: Result | FailedResult; readonly token: string | null }> {
  const authorization = await authorize(sender.tokens, connection.auth, call.signal);
  if (authorization.kind === "failed") return { result: authorization, token: null };

  const { token } = authorization;
  const outcome = await sender.exchange(toHttpRequest(sender, connection, call, token));
  const result = judge(outcome, {
    operation: call.operation,
    command: call.command,
    promisedNotApplied: sender.promisedNotApplied,
    // For messages, of which a success has none.
    get what() {
      return `${call.operation} (${call.method} ${describeTarget(connection, call.pathTemplate)})`;
    },
    get secrets() {
      return secretsOf(connection, token);
    },
  });

  sender.observe.apiRequest({
    operation: call.operation,
    result: toObservedResult(result),
    durationMs: outcome.durationMs,
  });
  return { result, token };
}

/** A proxy's 407 is not about our token. */
function isTokenRefused(result: ApiResult | LookupResult): boolean {
  return (
    result.kind === "failed" &&
    result.failure.errorClass === "unauthorized" &&
    result.failure.httpStatus !== 407
  );
}

function isForbidden(result: ApiResult | LookupResult): boolean {
  const httpStatus = result.kind === "failed" ? result.failure.httpStatus : result.httpStatus;
  return httpStatus === 403;
}

function toObservedResult(result: ApiResult | LookupResult) {
  switch (result.kind) {
    case "failed":
      return toRequestResult(result.failure);
    case "answered": {
      const isRefused = result.found.kind === "unclear" && (result.httpStatus ?? 0) >= 300;
      return isRefused ? "rejected" : "ok";
    }
    case "accepted": {
      const { customer, branch, tier, crew } = result.answer;
      return [customer, branch, tier, crew].some(({ failed }) => failed > 0) ? "partial" : "ok";
    }
    default:
      throw new Error(`unknown result: ${result satisfies never}`);
  }
}
