/**
 * One HTTP exchange: a request, and a bounded answer or a network error. The one home of undici. Knows nothing of customers,
 * tokens or the meaning of a status.
 *
 * `request()` rather than `fetch()`: it follows no redirect (a token would travel with it) and decompresses nothing (a small
 * gzip body can unfold past every limit).
 */
import { Agent, type Dispatcher, request as undiciRequest } from "undici";

import { networkErrorCode } from "./failure.ts";

export interface HttpRequest {
  readonly method: "GET" | "POST" | "PUT" | "PATCH" | "DELETE";
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string | null;
  readonly timeoutMs: number;
  /** Called right before it is written; false gives it up. Default: it may. */
  readonly mayBegin?: () => boolean;
  readonly signal: AbortSignal;
}

export type HttpResult = HttpAnswer | HttpBreak;

export interface HttpAnswer {
  readonly kind: "answered";
  readonly status: number;
  header(name: string): string | null;
  readonly text: string;
  readonly durationMs: number;
}

export interface HttpBreak {
  readonly kind: "broken";
  /** As failure.ts knows it: undici's, the system's, `TIMED_OUT` or `GIVEN_UP`. */
  readonly code: string;
  /** Whether the request was handed to a connected socket, so that the server may have read it. */
  readonly written: boolean;
  /** Set when status and headers came, but not the whole body. */
  readonly status: number | null;
  header(name: string): string | null;
  readonly durationMs: number;
}

export type Exchange = (request: HttpRequest) => Promise<HttpResult>;

const RESPONSE_BYTES_MAX = 4 * 1024 * 1024;
const HEADER_BYTES_MAX = 16 * 1024;
const CONNECT_TIMEOUT_MAX_MS = 10_000;

export function createExchange(options: { readonly timeoutMs: number }): {
  exchange: Exchange;
  close(): Promise<void>;
} {
  const agent = new Agent({
    // Node's servers close an idle socket after 5 s, earlier than other servers. This is shorter, as a POST on a socket that is
    // being closed has an unknown outcome. A server's `Keep-Alive: timeout=` hint may shorten it, never lengthen it.
    keepAliveTimeout: 4_000,
    keepAliveMaxTimeout: 4_000,
    keepAliveTimeoutThreshold: 1_000,
    pipelining: 1,
    allowH2: false,
    connect: { timeout: Math.min(options.timeoutMs, CONNECT_TIMEOUT_MAX_MS) },
    // Off: they measure pauses, not the whole exchange, in steps of half a second. The deadline below bounds the whole.
    headersTimeout: 0,
    bodyTimeout: 0,
    maxHeaderSize: HEADER_BYTES_MAX,
    maxResponseSize: RESPONSE_BYTES_MAX,
  });

  return {
    exchange: (request) => exchangeOver(agent, request),
    close: () => agent.destroy(),
  };
}

async function exchangeOver(agent: Agent, request: HttpRequest): Promise<HttpResult> {
  const startedAt = performance.now();
  const deadline = startDeadline(request.timeoutMs, request.signal);
  const wire = { written: false };
  let answer: Dispatcher.ResponseData | null = null;

  try {
    deadline.signal.throwIfAborted();
    const answering = undiciRequest(request.url, {
      dispatcher: agent.compose(noteWriting(wire, deadline, request.mayBegin)),
      method: request.method,
      headers: request.headers,
      body: request.body,
      signal: deadline.signal,
    });
    answer = await Promise.race([answering, deadline.passed(answering)]);
    const text = await readBody(answer);

    return {
      kind: "answered",
      status: answer.statusCode,
      header: headerReader(answer),
      text,
      durationMs: performance.now() - startedAt,
    };
  } catch (error) {
    return {
      kind: "broken",
      code: deadline.code() ?? networkErrorCode(error),
      written: wire.written,
      status: answer?.statusCode ?? null,
      header: headerReader(answer),
      durationMs: performance.now() - startedAt,
    };
  } finally {
    deadline.clear();
  }
}

/** Bounds the exchange by a time and by the caller's signal; says afterwards which of the two ended it. */
function startDeadline(timeoutMs: number, caller: AbortSignal) {
  const controller = new AbortController();
  const onTimeout = () => abortWith("TIMED_OUT");
  const onCaller = () => abortWith("GIVEN_UP");
  let code: "TIMED_OUT" | "GIVEN_UP" | null = null;

  function abortWith(reason: "TIMED_OUT" | "GIVEN_UP"): void {
    code ??= reason;
    controller.abort(new Error(reason));
  }

  const timer = setTimeout(onTimeout, timeoutMs);
  if (caller.aborted) onCaller();
  else caller.addEventListener("abort", onCaller, { once: true });

  return {
    signal: controller.signal,
    code: () => code,
    giveUp: onCaller,

    /** undici notices an abort only once the request has a connection; this rejects at once. */
    passed(answering: Promise<unknown>): Promise<never> {
      answering.catch(() => undefined);
      return new Promise((_, reject) => {
        const onAbort = () => reject(controller.signal.reason);
        if (controller.signal.aborted) onAbort();
        else controller.signal.addEventListener("abort", onAbort, { once: true });
      });
    },

    clear(): void {
      clearTimeout(timer);
      caller.removeEventListener("abort", onCaller);
    },
  };
}

/**
 * Notes the moment before a request is written to a connected socket: undici calls `onRequestStart` then, and not while the
 * request waits for a connection. undici drops an aborted request at this point.
 */
function noteWriting(
  wire: { written: boolean },
  { signal, giveUp }: { readonly signal: AbortSignal; readonly giveUp: () => void },
  mayBegin: () => boolean = () => true,
): Dispatcher.DispatcherComposeInterceptor {
  return (dispatch) => (options, handler) => {
    const onRequestStart = handler.onRequestStart?.bind(handler);
    handler.onRequestStart = (controller, context) => {
      if (!mayBegin()) giveUp();
      if (!signal.aborted) wire.written = true;
      onRequestStart?.(controller, context);
    };
    return dispatch(options, handler);
  };
}

async function readBody(answer: Dispatcher.ResponseData): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;

  for await (const chunk of answer.body as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > RESPONSE_BYTES_MAX) {
      throw Object.assign(new Error("answer too large"), { code: "UND_ERR_RES_EXCEEDED_MAX_SIZE" });
    }
    chunks.push(chunk);
  }

  return Buffer.concat(chunks, bytes)
    .toString("utf8")
    .replace(/^\uFEFF/, "");
}

function headerReader(answer: Dispatcher.ResponseData | null): (name: string) => string | null {
  return (name) => {
    const value = answer?.headers[name];
    return (Array.isArray(value) ? value[0] : value) ?? null;
  };
}
