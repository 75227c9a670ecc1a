/**
 * Bearer tokens by OAuth2 client credentials: kept until shortly before they expire, and asked for by one request at a time per client.
 */
import type { ApiAuth, ClientCredentials, FailedResult } from "./customer-api.ts";
import { tokenFailure } from "./token-failure.ts";
import { requestToken, type TokenEndpointOptions } from "./token-request.ts";

export interface Tokens {
  /** `signal` gives up the wait, not the request, for which other sends may be waiting. */
  get(auth: ClientCredentials, signal: AbortSignal): Promise<TokenResult>;
  /** The API refused this token. A newer one, which another send fetched meanwhile, stays. */
  invalidate(auth: ClientCredentials, token: string): void;
  /** Whether a refusal without a reason may be about this token: it is not the newest, or it is not new. */
  maySuspect(auth: ClientCredentials, token: string): boolean;
}

export interface TokensOptions extends TokenEndpointOptions {
  /** Monotonic milliseconds. */
  readonly now: () => number;
  /** 0 to 1. */
  readonly random: () => number;
}

type TokenResult = { readonly kind: "token"; readonly token: string } | FailedResult;

interface CachedToken {
  readonly token: string;
  readonly fetchedAt: number;
  readonly expiresAt: number;
  /** From here on a new one is fetched; when that fails, this one is used until it expires. */
  refreshAt: number;
}

interface TokenEntry {
  cached: CachedToken | null;
  fetching: Promise<TokenResult> | null;
}

/** Configurations come and go; a token costs one request. */
const ENTRIES_MAX = 100;
/** A younger token has not expired. A client without the right to do something gets 403 each time, which must not fetch a token each time. */
const SUSPECT_AFTER_MS = 60_000;
/** A token endpoint in trouble is asked this often while the old token is still valid. */
const REFRESH_PAUSE_MS = 1_000;

export function createTokens(options: TokensOptions): Tokens {
  const entries = new Map<string, TokenEntry>();

  function entryOf(auth: ClientCredentials): TokenEntry {
    const identity = identify(auth);
    const entry = entries.get(identity) ?? { cached: null, fetching: null };
    // Most recently used last, so that the first one is the one to forget.
    entries.delete(identity);
    entries.set(identity, entry);
    for (const oldest of entries.keys()) {
      if (entries.size <= ENTRIES_MAX) break;
      entries.delete(oldest);
    }
    return entry;
  }

  async function refresh(auth: ClientCredentials, entry: TokenEntry): Promise<TokenResult> {
    const outcome = await requestToken(options, auth);
    if (outcome.kind === "failed") {
      const { cached } = entry;
      if (cached === null || cached.expiresAt <= options.now()) return outcome;

      cached.refreshAt = options.now() + REFRESH_PAUSE_MS;
      return { kind: "token", token: cached.token };
    }

    const lifetimeMs = outcome.expiresInSeconds * 1000;
    // A tenth of the life, at most a minute, spread so that replicas do not refresh together.
    const marginMs = Math.min(lifetimeMs / 10, 60_000) * (0.5 + options.random() / 2);
    const fetchedAt = options.now();
    const expiresAt = fetchedAt + lifetimeMs;
    const refreshAt = expiresAt - marginMs;
    entry.cached = { token: outcome.token, fetchedAt, expiresAt, refreshAt };
    return { kind: "token", token: outcome.token };
  }

  return {
    async get(auth, signal) {
      const entry = entryOf(auth);
      if (entry.cached !== null && options.now() < entry.cached.refreshAt) {
        return { kind: "token", token: entry.cached.token };
      }

      entry.fetching ??= refresh(auth, entry).finally(() => {
        entry.fetching = null;
      });
      return giveUpOn(signal, entry.fetching);
    },

    invalidate(auth, token) {
      const entry = entryOf(auth);
      if (entry.cached?.token === token) entry.cached = null;
    },

    maySuspect(auth, token) {
      const { cached } = entryOf(auth);
      return cached?.token !== token || options.now() - cached.fetchedAt >= SUSPECT_AFTER_MS;
    },
  };
}

/** Whose token it is. Each request asks, for few clients. */
function identify(auth: ClientCredentials): string {
  const known = identities.get(auth);
  if (known !== undefined) return known;
  const { tokenUrl, clientId, clientSecret, scope, style } = auth;
  const identity = JSON.stringify([tokenUrl, clientId, clientSecret, scope, style]);
  identities.set(auth, identity);
  return identity;
}

const identities = new WeakMap<ClientCredentials, string>();

/** The token for a request; null for an API without one. */
export async function authorize(
  tokens: Pick<Tokens, "get">,
  auth: ApiAuth,
  signal: AbortSignal,
): Promise<{ readonly kind: "token"; readonly token: string | null } | FailedResult> {
  switch (auth.kind) {
    case "none":
      return { kind: "token", token: null };
    case "static":
      return { kind: "token", token: auth.token };
    case "client_credentials":
      return tokens.get(auth, signal);
    default:
      throw new Error(`unknown kind of authorization: ${auth satisfies never}`);
  }
}

function giveUpOn(signal: AbortSignal, fetching: Promise<TokenResult>): Promise<TokenResult> {
  return new Promise((resolve, reject) => {
    const onAbort = () => {
      resolve({
        kind: "failed",
        failure: {
          ...tokenFailure("network", null, "given up while waiting for a token"),
          isGivenUp: true,
        },
      });
    };
    if (signal.aborted) onAbort();
    else signal.addEventListener("abort", onAbort, { once: true });

    fetching.then(resolve, reject).finally(() => signal.removeEventListener("abort", onAbort));
  });
}
