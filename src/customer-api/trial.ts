/**
 * Tries whether the API accepts our credentials, with a request that changes nothing: a GET on the path where customers are looked up,
 * for a customer that cannot exist, or else on the path where they are created.
 *
 * Only a refusal of the credentials counts. The API need not serve that GET and may answer 404, 405 or 400; the body of the answer is
 * not read.
 */
import { randomBytes } from "node:crypto";
import type { ApiConnection, ApiFailure } from "./customer-api.ts";
import type { Exchange } from "./exchange.ts";
import { errorVerdict, statusVerdict } from "./failure.ts";
import { describeTarget, toHttpRequest } from "./request.ts";
import { authorize, type Tokens } from "./token.ts";

export interface TrialContext {
  readonly exchange: Exchange;
  readonly tokens: Pick<Tokens, "get">;
  readonly userAgent: string;
  readonly timeoutMs: number;
}

/** `target` is where the request went, without what may be secret in a URL. */
export type Trial =
  | { readonly kind: "taken"; readonly target: string; readonly status: number }
  | { readonly kind: "refused"; readonly target: string; readonly status: number }
  /** The API, or a gateway before it, fails: nothing is known about the credentials. */
  | { readonly kind: "failing"; readonly target: string; readonly status: number }
  | { readonly kind: "unreachable"; readonly target: string; readonly reason: string }
  | { readonly kind: "no_token"; readonly failure: ApiFailure };

/** The answer to a send may be about its account. This request is about none, so its 403 is about our credentials. */
const FORBIDDEN = 403;
/** "Not implemented" is about the GET. */
const NOT_IMPLEMENTED = 501;

export async function tryCredentials(
  context: TrialContext,
  connection: ApiConnection,
): Promise<Trial> {
  const signal = AbortSignal.timeout(2 * context.timeoutMs);
  const given = await authorize(context.tokens, connection.auth, signal);
  if (given.kind === "failed") return { kind: "no_token", failure: given.failure };

  const path = connection.lookupPath ?? connection.createPath;
  const target = describeTarget(connection, path);
  const question = {
    method: "GET",
    path: withoutCustomer(path),
    headers: {},
    body: null,
    mayBegin: () => true,
    signal,
  } as const;
  const outcome = await context.exchange(toHttpRequest(context, connection, question, given.token));

  // A status is enough, without a whole body: a list of all customers may be larger than what is read.
  const { status } = outcome;
  if (outcome.kind === "broken" && status === null) {
    const { hint } = errorVerdict(outcome.code, outcome.written);
    return {
      kind: "unreachable",
      target,
      reason: hint ? `${outcome.code}, ${hint}` : outcome.code,
    };
  }
  return { kind: toKind(status ?? 0), target, status: status ?? 0 };
}

function toKind(status: number): "taken" | "refused" | "failing" {
  const isRefused = statusVerdict(status).errorClass === "unauthorized" || status === FORBIDDEN;
  if (isRefused) return "refused";
  return status >= 500 && status !== NOT_IMPLEMENTED ? "failing" : "taken";
}

/** The path of a customer that cannot exist, so that no data of a real one comes back. */
function withoutCustomer(path: string): string {
  const nothing = `account-sync-doctor-${randomBytes(8).toString("hex")}`;
  return path.replaceAll(/\{account_(?:no|id)\}/g, nothing);
}
