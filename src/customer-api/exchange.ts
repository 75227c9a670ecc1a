/**
 * One HTTP exchange: a request, and a bounded answer or a network error. The one home of undici. Knows nothing of customers,
 * tokens or the meaning of a status.
 *
 * `dispatch()` rather than `fetch()`: it follows no redirect (a token would travel with it) and decompresses nothing (a small
 * gzip body can unfold past every limit). `request()` on top of it would make a stream of each answer, at half the CPU of the exchange.
 */
import { Agent, type Dispatcher } from "undici";

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

function exchangeOver(agent: Agent, request: HttpRequest): Promise<HttpResult> {
  return new Promise((resolve) => new RunningExchange(request, resolve).begin(agent));
}

/** One exchange from its beginning to its one result, which whatever comes first decides: the answer, an error, the time, or the caller. */
class RunningExchange implements Dispatcher.DispatchHandler {
  readonly #request: HttpRequest;
  readonly #resolve: (result: HttpResult) => void;
  readonly #startedAt = performance.now();
  readonly #onTimeout = () => this.#giveUp("TIMED_OUT");
  readonly #onCaller = () => this.#giveUp("GIVEN_UP");
  #timer: NodeJS.Timeout | null = null;
  #isOver = false;
  /** Handed to a connected socket. */
  #isWritten = false;
  #controller: Dispatcher.DispatchController | null = null;
  #status: number | null = null;
  #headers: Dispatcher.ResponseData["headers"] = {};
  #chunks: Buffer[] = [];
  #bytes = 0;

  constructor(request: HttpRequest, resolve: (result: HttpResult) => void) {
    this.#request = request;
    this.#resolve = resolve;
  }

  begin(agent: Agent): void {
    const { method, url, headers, body, timeoutMs, signal } = this.#request;
    if (signal.aborted) {
      this.#onCaller();
      return;
    }
    this.#timer = setTimeout(this.#onTimeout, timeoutMs);
    signal.addEventListener("abort", this.#onCaller, { once: true });

    try {
      const { origin, pathname, search } = new URL(url);
      agent.dispatch({ origin, path: pathname + search, method, headers, body }, this);
    } catch (error) {
      this.#break(networkErrorCode(error));
    }
  }

  /**
   * The moment before the request is written to a connected socket: while it waits for a connection, undici does not call this, and does
   * not notice that it was given up. It is dropped here then.
   */
  onRequestStart(controller: Dispatcher.DispatchController): void {
    const { mayBegin = () => true } = this.#request;
    this.#controller = controller;
    if (!this.#isOver && !mayBegin()) this.#giveUp("GIVEN_UP");
    if (this.#isOver) controller.abort(new Error("given up before it was written"));
    else this.#isWritten = true;
  }

  onResponseStart(
    _controller: Dispatcher.DispatchController,
    status: number,
    headers: Dispatcher.ResponseData["headers"],
  ): void {
    // 103 Early Hints, 102 Processing: the answer follows.
    if (status < 200) return;
    this.#status = status;
    this.#headers = headers;
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    this.#bytes += chunk.length;
    if (this.#bytes <= RESPONSE_BYTES_MAX) {
      this.#chunks.push(chunk);
      return;
    }
    controller.abort(
      Object.assign(new Error("answer too large"), { code: "UND_ERR_RES_EXCEEDED_MAX_SIZE" }),
    );
  }

  onResponseEnd(): void {
    const status = this.#status ?? 0;
    const text = this.#isOver ? "" : toText(this.#chunks, this.#bytes);
    this.#end({
      kind: "answered",
      status,
      header: this.#header,
      text,
      durationMs: this.#durationMs,
    });
  }

  onResponseError(_controller: unknown, error: unknown): void {
    this.#break(networkErrorCode(error));
  }

  #giveUp(code: "TIMED_OUT" | "GIVEN_UP"): void {
    this.#break(code);
    this.#controller?.abort(new Error(code));
  }

  #break(code: string): void {
    this.#end({
      kind: "broken",
      code,
      written: this.#isWritten,
      status: this.#status,
      header: this.#header,
      durationMs: this.#durationMs,
    });
  }

  #end(result: HttpResult): void {
    if (this.#isOver) return;
    this.#isOver = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#request.signal.removeEventListener("abort", this.#onCaller);
    this.#chunks = [];
    this.#resolve(result);
  }

  readonly #header = (name: string): string | null => {
    const value = this.#headers[name];
    return (Array.isArray(value) ? value[0] : value) ?? null;
  };

  get #durationMs(): number {
    return performance.now() - this.#startedAt;
  }
}

/** Most answers come in one piece. */
function toText(chunks: readonly Buffer[], bytes: number): string {
  const [first] = chunks;
  const whole = chunks.length === 1 && first !== undefined ? first : Buffer.concat(chunks, bytes);
  const text = whole.toString("utf8");
  return text.charCodeAt(0) === BYTE_ORDER_MARK ? text.slice(1) : text;
}

const BYTE_ORDER_MARK = 0xfeff;
