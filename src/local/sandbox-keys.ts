/** The idempotency keys that the sandbox has seen, each with its request's identity and the answer it got. */
import { createHash } from "node:crypto";
import type { SandboxAnswer } from "./sandbox-customers.ts";
import type { SandboxRequest } from "./sandbox-requests.ts";

export interface AnsweredKey {
  readonly fingerprint: string;
  readonly answer: SandboxAnswer;
}

export interface SandboxKeys {
  list(): (readonly [key: string, answered: AnsweredKey])[];
  /** The answer that this key got before; null when it was not seen, a refusal when it belonged to another request. */
  recall(key: string, request: SandboxRequest): SandboxAnswer | null;
  remember(key: string, request: SandboxRequest, answer: SandboxAnswer): void;
  clear(): void;
}

const KEYS_MAX = 50_000;

export function createSandboxKeys(
  initial: readonly (readonly [string, AnsweredKey])[],
  { onChanged }: { readonly onChanged: () => void },
): SandboxKeys {
  const keys = new Map(initial);

  return {
    list: () => [...keys],

    recall(key, request) {
      const answered = keys.get(key);
      if (answered === undefined) return null;
      if (answered.fingerprint === fingerprintOf(request)) return answered.answer;
      return { status: 422, body: { error: "this Idempotency-Key belongs to another request" } };
    },

    remember(key, request, answer) {
      keys.set(key, { fingerprint: fingerprintOf(request), answer });
      onChanged();
      for (const oldest of keys.keys()) {
        if (keys.size <= KEYS_MAX) break;
        keys.delete(oldest);
      }
    },

    clear() {
      keys.clear();
      onChanged();
    },
  };
}

/** A request's identity: method, path and exact body. */
function fingerprintOf({ method, path, text }: SandboxRequest): string {
  return createHash("sha256").update(`${method} ${path}\n${text}`).digest("base64url");
}
