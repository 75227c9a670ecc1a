/** Why the token endpoint gave no token, as the failure of the request that needs one. Pure. */
import type { ApiFailure, ClientCredentials } from "./customer-api.ts";
import type { HttpResult } from "./exchange.ts";
import { CHECK_TOKEN_SETTINGS, errorVerdict, retryAfterMs, statusVerdict } from "./failure.ts";
import { maskPersonal } from "./mask.ts";

/** What an answer without a token says. */
export interface TokenRefusal {
  /** May be the endpoint's own text. */
  readonly said: string;
  /** An error code of RFC 6749; null for any other, which is the endpoint's own text. */
  readonly knownCode: string | null;
}

/** @param outcome null when the request could not even be built */
export function toTokenFailure(
  auth: ClientCredentials,
  outcome: HttpResult | null,
  refusal: TokenRefusal,
): ApiFailure {
  const endpoint = `the token endpoint ${toEndpoint(auth.tokenUrl)}`;
  if (outcome === null) {
    const message = `${endpoint} cannot be asked; check CUSTOMER_API_TOKEN_URL`;
    return tokenFailure("unauthorized", null, message);
  }

  if (outcome.kind === "broken") {
    const { errorClass, hint } = errorVerdict(outcome.code, outcome.written);
    const message = withHint(`${endpoint} gave no token: ${outcome.code}`, hint);
    return tokenFailure(errorClass, outcome.status, message);
  }

  const { status } = outcome;
  const { errorClass, hint } = statusVerdict(status);
  const passes = status >= 300 && errorClass !== "rejected" && errorClass !== "unauthorized";
  if (passes) {
    return {
      ...tokenFailure(errorClass, status, withHint(`${endpoint} answered ${status}`, hint)),
      retryAfterMs: retryAfterMs(outcome.header("retry-after"), Date.now()),
    };
  }

  // Every other answer stays the same, for all accounts, until a person changes the configuration.
  const said = maskPersonal(refusal.said, null, [auth.clientSecret]);
  const ownWords = [status, refusal.knownCode].filter((word) => word !== null).join(" ");
  const toMessage = (why: string) => `${endpoint} gave no token (${why}); ${CHECK_TOKEN_SETTINGS}`;
  return {
    ...tokenFailure("unauthorized", status, toMessage(`${status} ${said}`)),
    ownWords: toMessage(ownWords),
  };
}

/** @param message without any text of the endpoint */
export function tokenFailure(
  errorClass: ApiFailure["errorClass"],
  httpStatus: number | null,
  message: string,
): ApiFailure {
  return {
    errorClass,
    // The command itself has not been sent, whatever became of the request for a token.
    delivery: "not_sent",
    countsAsAttempt: false,
    httpStatus,
    message,
    ownWords: message,
    retryAfterMs: null,
  };
}

function withHint(message: string, hint: string): string {
  return hint === "" ? message : `${message}, ${hint}`;
}

/** Without user, password and query, which may hold secrets. */
function toEndpoint(url: string): string {
  const parsed = URL.parse(url);
  return parsed === null ? "(not a URL)" : `${parsed.origin}${parsed.pathname}`;
}
