/**
 * An HTTP server before the sandbox, for answers that no switch of the sandbox can give: it hands every request on, and lets the
 * test rewrite what comes back. The sandbox behind it stays the witness of what was applied.
 */
import { createServer, type IncomingMessage } from "node:http";
import { text } from "node:stream/consumers";
import { afterEach } from "vitest";

export interface FrontAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

export interface FrontRequest {
  readonly method: string;
  readonly path: string;
  readonly body: string;
  readonly authorization: string | null;
}

export type Rewrite = (
  answer: FrontAnswer,
  request: FrontRequest,
) => FrontAnswer | Promise<FrontAnswer>;

export interface Front {
  readonly url: string;
  /** All of them, tokens included, oldest first. */
  readonly requests: readonly FrontRequest[];
  /** null hands answers on as they are. */
  rewrite: Rewrite | null;
  /** Where a path goes; as it is by default. */
  route: (path: string) => string;
  /** The body that is handed on; as it is by default. */
  resay: (body: string) => string;
}

const cleanups: (() => Promise<void>)[] = [];

afterEach(async () => {
  for (const cleanUp of cleanups.splice(0)) await cleanUp();
});

export async function startFront(targetUrl: string): Promise<Front> {
  const requests: FrontRequest[] = [];
  const server = createServer(async (incoming, outgoing) => {
    const request = await readRequest(incoming);
    requests.push(request);
    const said = { ...request, body: front.resay(request.body) };
    const handedOn = await handOn(targetUrl + front.route(request.path), said, incoming);
    const answer = front.rewrite === null ? handedOn : await front.rewrite(handedOn, request);
    outgoing.writeHead(answer.status, answer.headers).end(answer.body);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  cleanups.push(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });

  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("no port");
  const front: Front = {
    url: `http://127.0.0.1:${address.port}`,
    requests,
    rewrite: null,
    route: (path) => path,
    resay: (body) => body,
  };
  return front;
}

async function readRequest(incoming: IncomingMessage): Promise<FrontRequest> {
  return {
    method: incoming.method ?? "",
    path: incoming.url ?? "",
    body: await text(incoming),
    authorization: incoming.headers.authorization ?? null,
  };
}

/** Hop-by-hop headers are not handed on. */
const PASSED_HEADERS = [
  "authorization",
  "content-type",
  "idempotency-key",
  "x-sync-generation",
  "user-agent",
];

async function handOn(
  url: string,
  { method, body }: FrontRequest,
  { headers }: IncomingMessage,
): Promise<FrontAnswer> {
  const passed = PASSED_HEADERS.flatMap((name): [string, string][] => {
    const value = headers[name];
    return typeof value === "string" ? [[name, value]] : [];
  });
  const answer = await fetch(url, {
    method,
    headers: passed,
    ...(body === "" ? {} : { body }),
  });
  return {
    status: answer.status,
    headers: { "content-type": answer.headers.get("content-type") ?? "text/plain" },
    body: await answer.text(),
  };
}
