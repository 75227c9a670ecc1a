/**
 * A stand-in customer API: for trying the product out, and the test double of the end-to-end tests.
 *
 * It checks commands as a strict real API would, gives out ids, honours idempotency keys, remembers every request with its
 * times, and misbehaves on request. Development only: it answers with what it was sent and keeps all of it.
 *
 *     POST   /oauth/token                       client credentials, form or JSON
 *     POST   /api/customer/command              create
 *     PUT    /api/customer/command/{id}         update; PATCH /api/customer/{id} does the same; DELETE on both
 *     GET    /api/customer?code=…               the customer of an account number
 *     GET    on the paths of commands           401 with a wrong token, else 405: what `doctor` tries credentials with
 *     GET    /sandbox/requests?limit=…          the requests it received
 *     GET    /sandbox/customers                 the customers it has
 *     POST   /sandbox/faults                    e.g. {"next":[{"status":503,"retryAfter":1}]}; DELETE switches all off and ends delays
 *     POST   /sandbox/reset                     forgets everything
 */
import { randomBytes } from "node:crypto";
import fastify, { type FastifyInstance } from "fastify";
import { z } from "zod";
import { addApiRoutes, type SandboxApi } from "./sandbox-api.ts";
import type { SandboxCustomer } from "./sandbox-customers.ts";
import { playFault } from "./sandbox-fault-player.ts";
import {
  createFaultPlan,
  type FaultPlan,
  faultsShape,
  type SandboxFaults,
} from "./sandbox-faults.ts";
import {
  bodyOf,
  createRequestHistory,
  type RequestHistory,
  type SandboxCounts,
  type SandboxRequest,
} from "./sandbox-requests.ts";
import { openSandboxState } from "./sandbox-state.ts";
import { createSandboxTokens } from "./sandbox-tokens.ts";

export interface SandboxOptions {
  readonly host?: string;
  /** 0 picks a free one. */
  readonly port?: number;
  /** Customers survive a restart in this JSON file; without it they are kept in memory. */
  readonly dataFile?: string;
  readonly clientId?: string;
  readonly clientSecret?: string;
  readonly tokenExpiresInSeconds?: number;
  /** Answers repeat each item as it was sent, not its id alone. */
  readonly echo?: boolean;
  /** Ids count from 1, so that two sandboxes give out the same ones. */
  readonly numbersIds?: boolean;
  /** False: like an API that does not know Idempotency-Key. */
  readonly honourKeys?: boolean;
  /** One line per request; no personal data. */
  readonly log?: (line: string) => void;
}

export interface Sandbox {
  readonly url: string;
  readonly clientId: string;
  readonly clientSecret: string;
  /** A bearer token that never expires, for curl. */
  readonly staticToken: string;
  /** Every request, those for tokens included, oldest first; at most the last 10,000. */
  history(): SandboxRequest[];
  /** Exact, also for what the history has dropped. */
  counts(): SandboxCounts;
  customers(): SandboxCustomer[];
  setFaults(faults: SandboxFaults): void;
  /** Those that are still to come, and the one that stays. */
  faults(): SandboxFaults;
  /** Requests that are being delayed go on at once. */
  clearFaults(): void;
  /** Tokens given out so far stop working, as if they had expired. */
  revokeTokens(): void;
  /** Forgets customers, keys, history and faults. */
  reset(): Promise<void>;
  close(): Promise<void>;
}

export async function startSandbox(options: SandboxOptions = {}): Promise<Sandbox> {
  const { clientId = "sandbox", clientSecret = "sandbox-secret", echo = false } = options;
  const staticToken = `sandbox-${randomBytes(12).toString("hex")}`;
  const expiresInSeconds = options.tokenExpiresInSeconds ?? 3600;
  const tokens = createSandboxTokens({ clientId, clientSecret, staticToken, expiresInSeconds });
  const state = await openSandboxState({
    dataFile: options.dataFile ?? null,
    echo,
    numbersIds: options.numbersIds ?? false,
  });
  const history = createRequestHistory();
  const faults = createFaultPlan();
  const shutdown = new AbortController();

  const respond: SandboxApi["respond"] = async (operation, code, request, reply, work) => {
    const entry = history.begin(operation, request, code);
    // For requests without an answer. A client that hangs up does not stop the work, as with any real API.
    reply.raw.once("close", () => {
      history.end(entry, null);
      options.log?.(toLine(entry));
    });
    return await playFault(faults.take(entry), {
      request,
      reply,
      delaysEnd: () => AbortSignal.any([shutdown.signal, faults.cleared()]),
      async apply() {
        const answer = work(entry);
        await state.saved();
        return answer;
      },
      onAnswered: (status) => history.end(entry, status),
    });
  };
  const reset = async () => {
    state.clear();
    history.clear();
    faults.clear();
    await state.saved();
  };

  const server = createServer();
  addApiRoutes(server, { state, tokens, honoursKeys: options.honourKeys !== false, respond });
  addSandboxRoutes(server, { customers: state.customers.list, history, faults, reset });
  const url = await server.listen({ host: options.host ?? "127.0.0.1", port: options.port ?? 0 });

  return {
    url,
    clientId,
    clientSecret,
    staticToken,
    history: history.list,
    counts: history.counts,
    customers: state.customers.list,
    setFaults: (wanted) => faults.set(faultsShape.parse(wanted)),
    faults: faults.get,
    clearFaults: faults.clear,
    revokeTokens: tokens.revoke,
    reset,
    async close() {
      shutdown.abort();
      await server.close();
      await state.saved();
    },
  };
}

const BODY_BYTES_MAX = 8 * 1024 * 1024;

function createServer(): FastifyInstance {
  const server = fastify({
    logger: false,
    bodyLimit: BODY_BYTES_MAX,
    // Hanging requests must not keep close() waiting.
    forceCloseConnections: true,
    routerOptions: { maxParamLength: 1_000 },
  });
  // Bodies arrive as text, exactly as sent: a repeated create has to be the same to the byte.
  server.removeAllContentTypeParsers();
  server.addContentTypeParser("*", { parseAs: "string" }, (_request, body, done) => {
    done(null, body);
  });
  return server;
}

/** What is not of the API: a look at what the sandbox knows, and its faults. */
function addSandboxRoutes(
  server: FastifyInstance,
  {
    customers,
    history,
    faults,
    reset,
  }: {
    readonly customers: () => SandboxCustomer[];
    readonly history: RequestHistory;
    readonly faults: FaultPlan;
    readonly reset: () => Promise<void>;
  },
): void {
  server.get("/sandbox/requests", async (request) => {
    const limit = Number((request.query as Record<string, string>)["limit"] ?? 100);
    return { ...history.counts(), requests: limit > 0 ? history.list().slice(-limit) : [] };
  });
  server.get("/sandbox/customers", async () => customers());
  server.post("/sandbox/faults", async (request, reply) => {
    const parsed = faultsShape.safeParse(bodyOf(request));
    if (!parsed.success) return reply.code(400).send({ error: z.prettifyError(parsed.error) });
    faults.set(parsed.data);
    return faults.get();
  });
  server.get("/sandbox/faults", async () => faults.get());
  server.delete("/sandbox/faults", async () => {
    faults.clear();
    return faults.get();
  });
  server.post("/sandbox/reset", async () => {
    await reset();
    return { ok: true };
  });
}

function toLine({ operation, status, receivedAt, answeredAt }: SandboxRequest): string {
  const duration = Math.round((answeredAt ?? receivedAt) - receivedAt);
  return `${operation} ${status ?? "no answer"} ${duration} ms`;
}
