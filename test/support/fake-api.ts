/** A customer API in memory that honours keys: what it was asked, and the results that a test gives it. */
import type { AnswerSection } from "../../src/customer-api/answer.ts";
import type {
  ApiFailure,
  ApiRequest,
  ApiResult,
  CustomerApi,
  LookupRequest,
  LookupResult,
} from "../../src/customer-api/customer-api.ts";

export interface FakeApi extends CustomerApi {
  readonly requests: ApiRequest[];
  /** What the next sends get, in order; after that every command is accepted. */
  next(...results: SendResult[]): void;
  readonly lookups: LookupRequest[];
  /** What the next lookups get, in order; after that no customer is found. */
  nextLookup(...results: LookedUp[]): void;
}

type SendResult = ApiResult | ((request: ApiRequest) => ApiResult | Promise<ApiResult>);
type LookedUp = LookupResult | (() => Promise<LookupResult>);

/** Accepts every command, answers a repeated key as before, and gives out ids in the order of the arrays. */
export function createFakeApi(): FakeApi {
  const requests: ApiRequest[] = [];
  const lookups: LookupRequest[] = [];
  const sendResults: SendResult[] = [];
  const lookupResults: LookedUp[] = [];
  const answers = new Map<string, ApiResult>();
  let given = 0;

  const give = (item: { id?: string }, kind: string) => {
    given += 1;
    return item.id ?? `ext-${kind}-${given}`;
  };

  function answer(request: ApiRequest): ApiResult {
    if (request.operation === "delete") return accepted({});
    const body = JSON.parse(request.body ?? "{}");
    return accepted({
      customer: request.externalId ?? give({}, "customer"),
      branch: give(body.branch, "branch"),
      tiers: body.tier.map((item: { id?: string }) => give(item, "tier")),
      crew: body["customer-crew"].map((item: { id?: string }) => give(item, "crew")),
    });
  }

  return {
    requests,
    lookups,

    next: (...results) => {
      sendResults.push(...results);
    },

    nextLookup: (...results) => {
      lookupResults.push(...results);
    },

    async send(_connection, request) {
      requests.push(request);
      const wanted = sendResults.shift();
      if (wanted !== undefined)
        return typeof wanted === "function" ? await wanted(request) : wanted;

      const given = answers.get(request.idempotencyKey) ?? answer(request);
      answers.set(request.idempotencyKey, given);
      return given;
    },

    async lookUp(_connection, request) {
      lookups.push(request);
      const wanted = lookupResults.shift() ?? notThere();
      return typeof wanted === "function" ? await wanted() : wanted;
    },

    startWait() {},
  };
}

/** The name of the customer that a request was about. */
export function nameIn(sent: ApiRequest | undefined): string {
  return JSON.parse(sent?.body ?? "{}").customer.name;
}

export function accepted(ids: {
  readonly customer?: string | null;
  readonly branch?: string | null;
  readonly tiers?: readonly (string | null)[];
  readonly crew?: readonly (string | null)[];
}): Extract<ApiResult, { readonly kind: "accepted" }> {
  return {
    kind: "accepted",
    httpStatus: 200,
    answer: {
      refusal: null,
      customer: section(ids.customer === undefined ? undefined : [ids.customer]),
      branch: section(ids.branch === undefined ? undefined : [ids.branch]),
      tier: section(ids.tiers),
      crew: section(ids.crew),
    },
  };
}

export function notThere(): LookupResult {
  return { kind: "answered", httpStatus: 404, found: { kind: "none" } };
}

/** The one customer that a lookup found: the ids it holds, in no order that means anything. */
export function foundThere(ids: Parameters<typeof accepted>[0]): LookupResult {
  return {
    kind: "answered",
    httpStatus: 200,
    found: { kind: "one", answer: accepted(ids).answer },
  };
}

export function unclear(reason: string): LookupResult {
  return { kind: "answered", httpStatus: 200, found: { kind: "unclear", reason } };
}

function section(ids: readonly (string | null)[] | undefined): AnswerSection {
  const given = (ids ?? []).filter((id) => id !== null);
  return {
    present: ids !== undefined,
    items: given.map((id) => ({ id, raw: { id } })),
    failed: 0,
    errors: [],
  };
}

type Failed = Extract<ApiResult, { readonly kind: "failed" }>;

/** No answer came: the command may have been applied. */
export function noAnswer(failure: Partial<ApiFailure> = {}): Failed {
  return failed({
    errorClass: "timeout",
    delivery: "unknown",
    message: "no complete answer in time",
    ...failure,
  });
}

export function failed(failure: Partial<ApiFailure>): Failed {
  return {
    kind: "failed",
    failure: {
      errorClass: "network",
      delivery: "not_sent",
      countsAsAttempt: true,
      httpStatus: null,
      message: "nothing listens there",
      retryAfterMs: null,
      ...failure,
    },
  };
}

export function rejected(failure: Partial<ApiFailure> = {}): Failed {
  return failed({
    errorClass: "rejected",
    delivery: "not_applied",
    httpStatus: 422,
    message: "answered 422: *** is not welcome",
    ...failure,
  });
}
