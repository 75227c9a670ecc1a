/** The sandbox's access tokens: what the token endpoint gives for client credentials, and which of them the API accepts. */
import { randomBytes, timingSafeEqual } from "node:crypto";
import type { SandboxAnswer } from "./sandbox-customers.ts";
import type { SandboxRequest } from "./sandbox-requests.ts";

export interface SandboxTokens {
  /** Answers a request to the token endpoint, form or JSON. */
  give(authorization: string | undefined, request: SandboxRequest): SandboxAnswer;
  isAccepted(authorization: string | undefined): boolean;
  /** Those given out so far; the static one goes on. */
  revoke(): void;
}

export interface SandboxTokensOptions {
  readonly clientId: string;
  readonly clientSecret: string;
  /** Accepted without having been given out, and for ever. */
  readonly staticToken: string;
  readonly expiresInSeconds: number;
}

const TOKENS_MAX = 10_000;

export function createSandboxTokens(options: SandboxTokensOptions): SandboxTokens {
  const { clientId, clientSecret, staticToken, expiresInSeconds } = options;
  const credentials = `Basic ${Buffer.from(`${clientId}:${clientSecret}`).toString("base64")}`;
  /** Each with the end of its time, on the monotonic clock. */
  const given = new Map<string, number>();

  return {
    give(authorization, request) {
      if (!isSame(authorization ?? "", credentials)) {
        return { status: 401, body: { error: "invalid_client" } };
      }
      const refusal = refusalOf(request);
      if (refusal !== null) return { status: 400, body: { error: refusal } };

      const token = randomBytes(24).toString("base64url");
      given.set(token, performance.now() + expiresInSeconds * 1000);
      for (const oldest of given.keys()) {
        if (given.size <= TOKENS_MAX) break;
        given.delete(oldest);
      }
      return {
        status: 200,
        body: { access_token: token, token_type: "Bearer", expires_in: expiresInSeconds },
      };
    },

    isAccepted(authorization) {
      const token = /^Bearer (.+)$/i.exec(authorization ?? "")?.[1] ?? "";
      return isSame(token, staticToken) || (given.get(token) ?? 0) > performance.now();
    },

    revoke: () => given.clear(),
  };
}

function refusalOf({ headers, text, body }: SandboxRequest): string | null {
  if (headers["content-type"]?.startsWith("application/x-www-form-urlencoded")) {
    const grant = new URLSearchParams(text).get("grant_type");
    return grant === "client_credentials" ? null : "unsupported_grant_type";
  }
  return body === null ? "invalid_request" : null;
}

function isSame(a: string, b: string): boolean {
  const [left, right] = [Buffer.from(a), Buffer.from(b)];
  return left.length === right.length && timingSafeEqual(left, right);
}
