/**
 * Tries whether the API takes our credentials, with a request that can change nothing: a GET on the path where customers are looked up,
 * for one that cannot exist, or else on the path where they are created.
 *
 * What counts is only whether we are refused. An API has no use for that GET and may say 404, 405 or 400 to it; an answer's body is never
 * looked at.
 */
import { randomBytes } from "node:crypto";
import type { ApiConnection, ApiFailure } from "./customer-api.ts";
import type { Exchange } from "./exchange.ts";
import { errorVerdict, statusVerdict } from "./failure.ts";
import { describeTarget, toHttpRequest } from "./request.ts";
import { authorize, type Tokens } from "./token.ts";

export interface TrialParts {
  readonly exchange: Exchange;
  readonly tokens: Pick<Tokens, "get">;
  readonly userAgent: string;
  readonly timeoutMs: number;
}

/** `target` is where it was asked, without what a URL may hide. */
export type Trial =
  | { readonly kind: "taken"; readonly target: string; readonly status: number }
  | { readonly kind: "refused"; readonly target: string; readonly status: number }
  /** The API, or something before it, is in trouble: nothing is known of the credentials. */
  | { readonly kind: "failing"; readonly target: string; readonly status: number }
  | { readonly kind: "unreachable"; readonly target: string; readonly reason: string }
  | { readonly kind: "no_token"; readonly failure: ApiFailure };

/** To a send a bare 403 is about the one account. This request is about none, so it is about our credentials. */
const FORBIDDEN = 403;
/** "Not implemented" is about the GET. */
const NOT_IMPLEMENTED = 501;

export async function tryCredentials(parts: TrialParts, connection: ApiConnection): Promise<Trial> {
  const signal = AbortSignal.timeout(2 * parts.timeoutMs);
  const given = await authorize(parts.tokens, connection.auth, signal);
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
  const outcome = await parts.exchange(toHttpRequest(parts, connection, question, given.token));

  // A status without a whole body: a list of all customers may be larger than what we read.
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

/** A customer that cannot exist: no data of a real one comes back. */
function withoutCustomer(path: string): string {
  const nothing = `account-sync-doctor-${randomBytes(8).toString("hex")}`;
  return path.replaceAll(/\{account_(?:no|id)\}/g, nothing);
}
