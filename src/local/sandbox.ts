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
 *     GET    /sandbox/requests?limit=…          what came in
 *     GET    /sandbox/customers                 what it knows
 *     POST   /sandbox/faults                    e.g. {"next":[{"status":503,"retryAfter":1}]}; DELETE switches all off and ends delays
 *     POST   /sandbox/reset                     forget everything
 */
import { randomBytes, timingSafeEqual } from "node:crypto";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { setTimeout as wait } from "node:timers/promises";
import { createGzip } from "node:zlib";

import fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from "fastify";
import { z } from "zod";

import {
  answerOf,
  fingerprintOf,
  openSandboxCustomers,
  type SandboxAnswer,
  type SandboxCustomer,
  type SandboxCustomers,
} from "./sandbox-customers.ts";

export interface SandboxOptions {
  readonly host?: string;
  /** 0 picks a free one. */
  readonly port?: number;
  /** Customers survive a restart in this JSON file; without it they live in memory. */
  readonly dataFile?: string;
  readonly clientId?: string;
  readonly clientSecret?: string;
  readonly tokenExpiresInSeconds?: number;
  /** Answers repeat each item as it was sent, not its id alone. */
  readonly echo?: boolean;
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
  /** Requests that are being delayed go on at once. */
  clearFaults(): void;
  /** Tokens given out so far stop working, as if they had expired. */
  revokeTokens(): void;
  /** Forgets customers, keys, history and faults. */
  reset(): Promise<void>;
  close(): Promise<void>;
}

type SandboxOperation = "token" | "create" | "update" | "delete" | "lookup";

export interface SandboxRequest {
  readonly operation: SandboxOperation;
  readonly method: string;
  readonly path: string;
  /** Without the authorization. */
  readonly headers: Readonly<Record<string, string>>;
  readonly key: string | null;
  readonly generation: string | null;
  /** The exact text, and what it says. */
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

interface SandboxCounts {
  readonly total: number;
  readonly byOperation: Readonly<Record<SandboxOperation, number>>;
  readonly byStatus: Readonly<Record<string, number>>;
  readonly overlapping: number;
  readonly inWork: number;
}

/** What goes wrong with a request. The parts combine: first the delay, then what happens to the command, then the answer. */
export type SandboxFault = z.infer<typeof faultShape>;

/** `next`: each for one request, the first that fits. `always`: for all that fit, until switched off. */
export type SandboxFaults = z.infer<typeof faultsShape>;

const faultShape = z.strictObject({
  /** Only these operations; without it create, update and delete. */
  on: z.enum(["token", "create", "update", "delete", "lookup"]).optional(),
  /** Only this account number. */
  code: z.string().optional(),
  delayMs: z.number().min(0).optional(),
  /** Answers this status, without applying the command unless `applied` says so. */
  status: z.number().int().min(200).max(599).optional(),
  applied: z.boolean().optional(),
  retryAfter: z.union([z.number(), z.string()]).optional(),
  headers: z.record(z.string(), z.string()).optional(),
  /** A string goes out as HTML, anything else as JSON. Instead of the usual answer; the command is applied. */
  body: z.unknown().optional(),
  /** Closes the connection before or after the command was applied. */
  dropConnection: z.enum(["before", "after"]).optional(),
  /** Applies the command and breaks off in the middle of the answer. */
  cutOff: z.boolean().optional(),
  /** What is dropped or cut off ends with a reset, as when a process dies, and not like a connection that is closed. */
  reset: z.boolean().optional(),
  /** Pads the answer with blanks to this many bytes: whoever reads on finds it valid. */
  floodBytes: z.number().int().min(0).optional(),
  /** Compresses the answer, asked for or not; with `floodBytes` a small body that unfolds without end. */
  gzip: z.boolean().optional(),
  /** The answer comes in pieces of one byte, so far apart. */
  trickleMs: z.number().min(0).optional(),
  /** Never answers. */
  hang: z.boolean().optional(),
  /** Leaves these sections out of the answer. */
  omit: z.array(z.string()).optional(),
  /** Turns the arrays of the answer around. */
  reverse: z.boolean().optional(),
});

const faultsShape = z.strictObject({
  next: z.array(faultShape).optional(),
  always: faultShape.optional(),
});

const HISTORY_MAX = 10_000;
const BODY_BYTES_MAX = 8 * 1024 * 1024;
const TOKENS_MAX = 10_000;
const FLOOD_PIECE_BYTES = 64 * 1024;

const COMMAND_METHODS = {
  "/api/customer/command": "POST",
  "/api/customer/command/:id": "PUT, PATCH, POST, DELETE",
  "/api/customer/:id": "PUT, PATCH, POST, DELETE",
};

export async function startSandbox(options: SandboxOptions = {}): Promise<Sandbox> {
  const clientId = options.clientId ?? "sandbox";
  const clientSecret = options.clientSecret ?? "sandbox-secret";
  const staticToken = `sandbox-${randomBytes(12).toString("hex")}`;

  const customers = await openSandboxCustomers(options.dataFile ?? null);
  const journal = createJournal();
  const faults = createFaults();
  const tokens = new Map<string, number>();
  const shutdown = new AbortController();

  const server = fastify({
    logger: false,
    bodyLimit: BODY_BYTES_MAX,
    // Hanging requests must not keep close() waiting.
    forceCloseConnections: true,
    routerOptions: { maxParamLength: 1_000 },
  });
  keepTextOfBodies(server);

  server.post("/oauth/token", async (request, reply) => {
    const entry = journal.begin("token", request, null);
    const answer = await misbehave(entry, request, reply, null, () =>
      giveToken(request, { clientId, clientSecret }, tokens, options.tokenExpiresInSeconds ?? 3600),
    );
    return answer;
  });

  server.post("/api/customer/command", (request, reply) => serve("create", request, reply));
  for (const url of ["/api/customer/command/:id", "/api/customer/:id"]) {
    server.route({
      method: ["PUT", "PATCH", "POST"],
      url,
      handler: (request, reply) => serve("update", request, reply),
    });
    server.delete(url, (request, reply) => serve("delete", request, reply));
  }
  server.get("/api/customer", (request, reply) => serve("lookup", request, reply));
  // Authorization is checked first, as strict APIs do. Not recorded: it is not a command.
  for (const [url, allowed] of Object.entries(COMMAND_METHODS)) {
    server.get(url, (request, reply) =>
      isAuthorized(request, staticToken, tokens)
        ? reply
            .code(405)
            .header("allow", allowed)
            .send({ error: `allowed here: ${allowed}` })
        : reply.code(401).send({ error: "the access token is invalid or expired" }),
    );
  }

  server.get("/sandbox/requests", async (request) => {
    const limit = Number((request.query as Record<string, string>)["limit"] ?? 100);
    return { ...journal.counts(), requests: limit > 0 ? journal.history().slice(-limit) : [] };
  });
  server.get("/sandbox/customers", async () => customers.list());
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

  /** Every request to the API proper: written down, authorized, then answered or not as the faults say. */
  async function serve(
    operation: Exclude<SandboxOperation, "token">,
    request: FastifyRequest,
    reply: FastifyReply,
  ): Promise<FastifyReply> {
    const code = codeOf(operation, request, customers);
    const entry = journal.begin(operation, request, code);
    return misbehave(entry, request, reply, code, () => {
      if (!isAuthorized(request, staticToken, tokens)) {
        return { status: 401, body: { error: "the access token is invalid or expired" } };
      }
      return perform(entry, request);
    });
  }

  function perform(entry: SandboxRequest, request: FastifyRequest): SandboxAnswer {
    if (entry.operation === "lookup") return lookUp(customers, entry.code);

    const fingerprint = fingerprintOf(entry.method, entry.path, entry.text);
    const key = options.honourKeys === false ? null : entry.key;
    if (key !== null) {
      const recalled = customers.recall(key, fingerprint);
      if (recalled === "other request") {
        return { status: 422, body: { error: "this Idempotency-Key belongs to another request" } };
      }
      if (recalled !== null) return recalled;
    }

    const answer = apply(entry, request);
    if (answer.status < 300) {
      entry.applied = true;
      if (key !== null) customers.remember(key, fingerprint, answer);
    }
    return answer;
  }

  function apply(entry: SandboxRequest, request: FastifyRequest): SandboxAnswer {
    const id = (request.params as { id?: string }).id ?? "";
    if (entry.operation === "delete") {
      return customers.remove(id)
        ? { status: 200, body: { success: true } }
        : { status: 404, body: { error: "no such customer" } };
    }

    const result =
      entry.operation === "create"
        ? customers.create(entry.body)
        : customers.update(id, entry.body);
    if (result.customer === undefined) return { status: result.status, body: result.body };
    return { status: result.status, body: answerOf(result.customer, options.echo ?? false) };
  }

  /** Carries out what the fault for this request says, around `work`, which applies it and makes the regular answer. */
  async function misbehave(
    entry: SandboxRequest,
    request: FastifyRequest,
    reply: FastifyReply,
    code: string | null,
    work: () => SandboxAnswer,
  ): Promise<FastifyReply> {
    // For those that get no answer. A client that goes away does not stop the work, as with any real API.
    reply.raw.once("close", () => {
      journal.end(entry, null);
      options.log?.(toLine(entry));
    });

    const fault = faults.take(entry.operation, code);
    if (fault.delayMs !== undefined) {
      const signal = AbortSignal.any([shutdown.signal, faults.cleared()]);
      await wait(fault.delayMs, undefined, { signal }).catch(() => undefined);
    }
    if (fault.dropConnection === "before") return drop(request, reply, fault);

    const replaced = fault.status !== undefined || fault.hang === true;
    const applies = fault.applied ?? !replaced;
    const regular = applies ? work() : null;
    await customers.saved();

    if (fault.hang === true) return reply.hijack();
    if (fault.dropConnection === "after") return drop(request, reply, fault);

    const answer = distort(regular, fault);
    if (fault.retryAfter !== undefined) reply.header("retry-after", String(fault.retryAfter));
    for (const [name, value] of Object.entries(fault.headers ?? {})) reply.header(name, value);
    if (fault.cutOff === true) return cutOff(request, reply, answer, fault);
    if (isPoured(fault)) {
      return pour(reply, answer, fault, () => journal.end(entry, answer.status));
    }

    // Before the bytes leave: whoever has the answer may send the next request, and that is no overlap.
    journal.end(entry, answer.status);
    if (typeof answer.body === "string") {
      return reply.code(answer.status).type("text/html").send(answer.body);
    }
    return reply.code(answer.status).send(answer.body);
  }

  async function reset(): Promise<void> {
    customers.clear();
    journal.clear();
    faults.clear();
    await customers.saved();
  }

  const url = await server.listen({ host: options.host ?? "127.0.0.1", port: options.port ?? 0 });

  return {
    url,
    clientId,
    clientSecret,
    staticToken,
    history: journal.history,
    counts: journal.counts,
    customers: customers.list,
    setFaults: (wanted) => faults.set(faultsShape.parse(wanted)),
    clearFaults: faults.clear,
    revokeTokens: () => tokens.clear(),
    reset,
    async close() {
      shutdown.abort();
      await server.close();
      await customers.saved();
    },
  };
}

/** Bodies arrive as text, exactly as sent: a repeated create has to be the same to the byte. */
function keepTextOfBodies(server: FastifyInstance): void {
  server.removeAllContentTypeParsers();
  server.addContentTypeParser("*", { parseAs: "string" }, (_request, body, done) => {
    done(null, body);
  });
}

function textOf(request: FastifyRequest): string {
  return typeof request.body === "string" ? request.body : "";
}

function bodyOf(request: FastifyRequest): unknown {
  try {
    return JSON.parse(textOf(request));
  } catch {
    return null;
  }
}

function codeOf(
  operation: SandboxOperation,
  request: FastifyRequest,
  customers: SandboxCustomers,
): string | null {
  if (operation === "lookup") {
    return (request.query as Record<string, string | undefined>)["code"] ?? null;
  }

  const { id } = request.params as { id?: string };
  const known = id === undefined ? undefined : customers.get(id);
  const sent = bodyOf(request) as { branch?: { code?: unknown } } | null;
  const code = sent?.branch?.code;
  return known?.code ?? (typeof code === "string" && code !== "" ? code : (id ?? null));
}

function lookUp(customers: SandboxCustomers, code: string | null): SandboxAnswer {
  const found = code === null ? [] : customers.findByCode(code);
  const [only] = found;
  if (only === undefined) return { status: 404, body: { error: "no customer has this code" } };
  if (found.length > 1) {
    return { status: 409, body: { error: `${found.length} customers have this code` } };
  }
  return { status: 200, body: answerOf(only, true) };
}

function giveToken(
  request: FastifyRequest,
  client: { readonly clientId: string; readonly clientSecret: string },
  tokens: Map<string, number>,
  expiresInSeconds: number,
): SandboxAnswer {
  const expected = `Basic ${Buffer.from(`${client.clientId}:${client.clientSecret}`).toString("base64")}`;
  if (!isSame(request.headers.authorization ?? "", expected)) {
    return { status: 401, body: { error: "invalid_client" } };
  }

  const form = request.headers["content-type"]?.startsWith("application/x-www-form-urlencoded");
  const grant = form ? new URLSearchParams(textOf(request)).get("grant_type") : null;
  if (form && grant !== "client_credentials") {
    return { status: 400, body: { error: "unsupported_grant_type" } };
  }
  if (!form && bodyOf(request) === null) return { status: 400, body: { error: "invalid_request" } };

  const token = randomBytes(24).toString("base64url");
  tokens.set(token, performance.now() + expiresInSeconds * 1000);
  for (const oldest of tokens.keys()) {
    if (tokens.size <= TOKENS_MAX) break;
    tokens.delete(oldest);
  }
  return {
    status: 200,
    body: { access_token: token, token_type: "Bearer", expires_in: expiresInSeconds },
  };
}

function isAuthorized(
  request: FastifyRequest,
  staticToken: string,
  tokens: ReadonlyMap<string, number>,
): boolean {
  const token = /^Bearer (.+)$/i.exec(request.headers.authorization ?? "")?.[1] ?? "";
  return isSame(token, staticToken) || (tokens.get(token) ?? 0) > performance.now();
}

function isSame(a: string, b: string): boolean {
  const [left, right] = [Buffer.from(a), Buffer.from(b)];
  return left.length === right.length && timingSafeEqual(left, right);
}

function toLine({ operation, status, receivedAt, answeredAt }: SandboxRequest): string {
  const duration = Math.round((answeredAt ?? receivedAt) - receivedAt);
  return `${operation} ${status ?? "no answer"} ${duration} ms`;
}

function drop(request: FastifyRequest, reply: FastifyReply, fault: SandboxFault): FastifyReply {
  reply.hijack();
  hangUp(request, fault);
  return reply;
}

function hangUp(request: FastifyRequest, fault: SandboxFault): void {
  const { socket } = request.raw;
  if (fault.reset === true) socket.resetAndDestroy();
  else socket.destroy();
}

function cutOff(
  request: FastifyRequest,
  reply: FastifyReply,
  answer: SandboxAnswer,
  fault: SandboxFault,
): FastifyReply {
  const text = JSON.stringify(answer.body);
  reply.hijack();
  reply.raw.writeHead(answer.status, {
    "content-type": "application/json",
    "content-length": Buffer.byteLength(text),
  });
  reply.raw.write(text.slice(0, Math.ceil(text.length / 2)), () => hangUp(request, fault));
  return reply;
}

/** Whether the answer leaves in pieces of our making. */
function isPoured({ floodBytes, gzip, trickleMs }: SandboxFault): boolean {
  return floodBytes !== undefined || gzip === true || trickleMs !== undefined;
}

/** Never more of it in memory than the reader is behind. Who hangs up in the middle ends it. */
function pour(
  reply: FastifyReply,
  answer: SandboxAnswer,
  fault: SandboxFault,
  onAllSent: () => void,
): FastifyReply {
  reply.hijack();
  reply.raw.writeHead(answer.status, {
    "content-type": "application/json",
    ...(fault.gzip === true ? { "content-encoding": "gzip" } : {}),
  });
  const text = Readable.from(padded(JSON.stringify(answer.body), fault.floodBytes ?? 0));
  const packed = fault.gzip === true ? text.pipe(createGzip()) : text;
  const pieces = Readable.from(spread(packed, fault.trickleMs ?? null, onAllSent));
  pipeline(pieces, reply.raw)
    .catch(() => undefined)
    .finally(() => text.destroy());
  return reply;
}

function* padded(text: string, bytes: number): Generator<Buffer> {
  yield Buffer.from(text);
  const blanks = Buffer.alloc(FLOOD_PIECE_BYTES, " ");
  for (let left = bytes - Buffer.byteLength(text); left > 0; left -= blanks.length) {
    yield blanks.subarray(0, left);
  }
}

async function* spread(
  pieces: AsyncIterable<Buffer>,
  trickleMs: number | null,
  onAllSent: () => void,
): AsyncGenerator<Buffer> {
  for await (const piece of pieces) {
    if (trickleMs === null) {
      yield piece;
      continue;
    }
    for (let at = 0; at < piece.length; at += 1) {
      await wait(trickleMs);
      yield piece.subarray(at, at + 1);
    }
  }
  onAllSent();
}

function distort(regular: SandboxAnswer | null, fault: SandboxFault): SandboxAnswer {
  const status = fault.status ?? regular?.status ?? 200;
  if (fault.body !== undefined) return { status, body: fault.body };
  // A status that was asked for without `applied` has no regular answer to give.
  if (regular === null || status >= 300) {
    const refusal = regular !== null && fault.status === undefined ? regular.body : null;
    return { status, body: refusal ?? { error: { message: `sandbox fault: ${status}` } } };
  }

  const sections = Object.entries(regular.body as Record<string, unknown>)
    .filter(([name]) => fault.omit?.includes(name) !== true)
    .map(([name, section]) => [name, fault.reverse === true ? reversed(section) : section]);
  return { status, body: Object.fromEntries(sections) };
}

function reversed(section: unknown): unknown {
  const data = (section as { data?: unknown } | null)?.data;
  return Array.isArray(data) ? { data: data.toReversed() } : section;
}

function createFaults() {
  let next: SandboxFault[] = [];
  let always: SandboxFault | null = null;
  let cleared = new AbortController();

  return {
    set(faults: SandboxFaults): void {
      next = [...(faults.next ?? [])];
      always = faults.always ?? null;
    },
    get: (): SandboxFaults => (always === null ? { next } : { next, always }),
    clear(): void {
      next = [];
      always = null;
      cleared.abort();
      cleared = new AbortController();
    },
    /** Aborts when the faults that are set now are cleared. */
    cleared: (): AbortSignal => cleared.signal,
    /** The fault for this request, if any; one of `next` is used up. */
    take(operation: SandboxOperation, code: string | null): SandboxFault {
      const index = next.findIndex((fault) => fits(fault, operation, code));
      if (index >= 0) return next.splice(index, 1)[0] ?? {};
      return always !== null && fits(always, operation, code) ? always : {};
    },
  };
}

function fits(fault: SandboxFault, operation: SandboxOperation, code: string | null): boolean {
  const onOperation =
    fault.on === undefined
      ? operation !== "token" && operation !== "lookup"
      : fault.on === operation;
  return onOperation && (fault.code === undefined || fault.code === code);
}

/** Every request with its times. An account's requests overlap when one comes before the last one's answer is out. */
function createJournal() {
  let entries: SandboxRequest[] = [];
  let inWork = new Set<SandboxRequest>();
  let counts = noCounts();

  return {
    begin(
      operation: SandboxOperation,
      request: FastifyRequest,
      code: string | null,
    ): SandboxRequest {
      const { authorization: _, ...headers } = request.headers as Record<string, string>;
      const entry: SandboxRequest = {
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

    history: (): SandboxRequest[] => entries.slice(-HISTORY_MAX),
    counts: (): SandboxCounts => structuredClone({ ...counts, inWork: inWork.size }),
    clear(): void {
      entries = [];
      inWork = new Set();
      counts = noCounts();
    },
  };
}

function noCounts() {
  return {
    total: 0,
    byOperation: { token: 0, create: 0, update: 0, delete: 0, lookup: 0 },
    byStatus: {} as Record<string, number>,
    overlapping: 0,
  };
}
