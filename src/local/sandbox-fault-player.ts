/** Answers one request of the sandbox as its fault says: late, distorted, broken off, without end, or not at all. */
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { setTimeout as wait } from "node:timers/promises";
import { createGzip } from "node:zlib";
import type { FastifyReply, FastifyRequest } from "fastify";
import type { SandboxAnswer } from "./sandbox-customers.ts";
import type { SandboxFault } from "./sandbox-faults.ts";

export interface PlayedRequest {
  readonly request: FastifyRequest;
  readonly reply: FastifyReply;
  /** Aborted when delays are to end at once. */
  readonly delaysEnd: () => AbortSignal;
  /** Applies the request and gives the regular answer. */
  readonly apply: () => Promise<SandboxAnswer>;
  /** The whole answer is on its way, or about to be. Not called when there is none. */
  readonly onAnswered: (status: number) => void;
}

/** Without a fault (`{}`), applies the request and sends the regular answer. */
export async function playFault(fault: SandboxFault, played: PlayedRequest): Promise<FastifyReply> {
  const { request, reply, delaysEnd, apply, onAnswered } = played;
  if (fault.delayMs !== undefined) {
    await wait(fault.delayMs, undefined, { signal: delaysEnd() }).catch(() => undefined);
  }
  if (fault.dropConnection === "before") return drop(request, reply, fault);

  const replaced = fault.status !== undefined || fault.hang === true;
  const regular = (fault.applied ?? !replaced) ? await apply() : null;

  if (fault.hang === true) return reply.hijack();
  if (fault.dropConnection === "after") return drop(request, reply, fault);

  const answer = distort(regular, fault);
  if (fault.retryAfter !== undefined) reply.header("retry-after", String(fault.retryAfter));
  for (const [name, value] of Object.entries(fault.headers ?? {})) reply.header(name, value);
  if (fault.cutOff === true) return cutOff(request, reply, answer, fault);
  if (isPoured(fault)) return pour(reply, answer, fault, () => onAnswered(answer.status));

  // Before the bytes leave: a client that has the answer may send its next request, and the two do not overlap.
  onAnswered(answer.status);
  if (typeof answer.body === "string") {
    return reply.code(answer.status).type("text/html").send(answer.body);
  }
  return reply.code(answer.status).send(answer.body);
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

/** Keeps no more of the answer in memory than the reader is behind. A client that hangs up in the middle ends it. */
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

const FLOOD_PIECE_BYTES = 64 * 1024;

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
