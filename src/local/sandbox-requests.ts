/** The history of the requests that the sandbox received, each with its times, and their counts. */
import type { FastifyRequest } from "fastify";

export type SandboxOperation = "token" | "create" | "update" | "delete" | "lookup";

export interface SandboxRequest {
  readonly operation: SandboxOperation;
  readonly method: string;
  readonly path: string;
  /** Without the authorization. */
  readonly headers: Readonly<Record<string, string>>;
  readonly key: string | null;
  readonly generation: string | null;
  /** The body's exact text, and the same parsed; null when it is not JSON. */
  readonly text: string;
  readonly body: unknown;
  /** The account number (`branch.code`), or that of the customer in the path. */
  readonly code: string | null;
  /** Milliseconds on this process's monotonic clock. */
  readonly receivedAt: number;
  /** When the answer went out, or the connection closed without one; null while the request is in work. */
  answeredAt: number | null;
  /** null when no answer was given. */
  status: number | null;
  /** The command took effect, whatever was answered. */
  applied: boolean;
  /** Another request for the same account was in work at the same time. */
  overlapping: boolean;
}

export interface SandboxCounts {
  readonly total: number;
  readonly byOperation: Readonly<Record<SandboxOperation, number>>;
  readonly byStatus: Readonly<Record<string, number>>;
  readonly overlapping: number;
  readonly inWork: number;
}

export type RequestHistory = ReturnType<typeof createRequestHistory>;

const HISTORY_MAX = 10_000;

/** An account's requests overlap when one arrives before the answer to the one before it is out. */
export function createRequestHistory() {
  let entries: SandboxRequest[] = [];
  let inWork = new Set<SandboxRequest>();
  let counts = noCounts();

  return {
    begin(
      operation: SandboxOperation,
      request: FastifyRequest,
      code: string | null,
    ): SandboxRequest {
      const entry = toEntry(operation, request, code);
      if (code !== null) {
        for (const other of inWork) {
          if (other.code !== code) continue;
          if (!other.overlapping) counts.overlapping += 1;
          other.overlapping = true;
          entry.overlapping = true;
        }
      }
      if (entry.overlapping) counts.overlapping += 1;
      counts.total += 1;
      counts.byOperation[operation] += 1;
      inWork.add(entry);
      entries.push(entry);
      // Trimmed in one go once it is twice too long, so that a busy benchmark does not shift 10,000 entries per request.
      if (entries.length >= 2 * HISTORY_MAX) entries = entries.slice(-HISTORY_MAX);
      return entry;
    },

    /** The first call counts. */
    end(entry: SandboxRequest, status: number | null): void {
      if (entry.answeredAt !== null) return;
      entry.answeredAt = performance.now();
      entry.status = status;
      if (!inWork.delete(entry)) return;

      const name = status === null ? "none" : String(status);
      counts.byStatus[name] = (counts.byStatus[name] ?? 0) + 1;
    },

    /** Oldest first; at most the last HISTORY_MAX. */
    list: (): SandboxRequest[] => entries.slice(-HISTORY_MAX),

    counts: (): SandboxCounts => structuredClone({ ...counts, inWork: inWork.size }),

    clear(): void {
      entries = [];
      inWork = new Set();
      counts = noCounts();
    },
  };
}

function toEntry(
  operation: SandboxOperation,
  request: FastifyRequest,
  code: string | null,
): SandboxRequest {
  const { authorization: _, ...headers } = request.headers as Record<string, string>;
  return {
    operation,
    method: request.method,
    path: request.url,
    headers,
    key: headers["idempotency-key"] ?? null,
    generation: headers["x-sync-generation"] ?? null,
    text: textOf(request),
    body: bodyOf(request),
    code,
    receivedAt: performance.now(),
    answeredAt: null,
    status: null,
    applied: false,
    overlapping: false,
  };
}

function textOf(request: FastifyRequest): string {
  return typeof request.body === "string" ? request.body : "";
}

/** null when it is not JSON. */
export function bodyOf(request: FastifyRequest): unknown {
  try {
    return JSON.parse(textOf(request));
  } catch {
    return null;
  }
}

function noCounts() {
  return {
    total: 0,
    byOperation: { token: 0, create: 0, update: 0, delete: 0, lookup: 0 },
    byStatus: {} as Record<string, number>,
    overlapping: 0,
  };
}
