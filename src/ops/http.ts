/**
 * The one HTTP server of a daemon: metrics and health for machines, and the routes that the console hands in for people.
 *
 * `/metrics`, `/healthz` and `/readyz` are open; http-access.ts decides who may use the console. Only this file runs fastify.
 */
import { isIPv6 } from "node:net";
import {
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
  fastify,
  type HTTPMethods,
} from "fastify";
import { parseExactJson } from "../exact-json.ts";
import type { KnownObstacle } from "../obstacle.ts";
import { OperatorError } from "../operator-error.ts";
import { limitConnections } from "./connection-limit.ts";
import { type Access, type AccessRefusal, findAccessRefusal, toAccess } from "./http-access.ts";
import { type HttpProblem, notJson, unreadable } from "./http-problem.ts";

const BODY_BYTES_MAX = 64 * 1024;
const PATH_PARAMETER_MAX = 500;
const REQUEST_TIMEOUT_MS = 10_000;
/** Counted from the connect, or the first byte of a later request: then a socket without complete headers is closed. */
const HEADERS_TIMEOUT_MS = 5_000;
/** How often Node looks for such sockets; by default only twice a minute. */
const SLOWNESS_CHECK_MS = 1_000;
const KEEP_ALIVE_MS = 5_000;
/** A connection on which nothing has moved for this long is closed: its reader does not read, and it counts as one of the connections. */
const STALLED_MS = 30_000;
const CONNECTIONS_MAX = 256;
const UNANSWERED_MAX = 8;
/** Connections that are closed for new ones are gone only at the end of a turn of the event loop: until then they count here. */
const SOCKETS_MAX = 4 * CONNECTIONS_MAX;
/** How long an answer that is being written at the stop may take. */
const CLOSE_GRACE_MS = 2_000;

export interface HttpServer {
  readonly url: string;
  close(): Promise<void>;
}

/** Without the reason, which may have the API's words: /readyz is open. */
type ShownObstacle = Pick<KnownObstacle, "by" | "since" | "until">;

/** A route of the console, free of any framework. */
export interface Route {
  readonly method: "GET" | "POST";
  /** `/api/accounts/:id` */
  readonly path: string;
  handle(request: RouteRequest): Promise<RouteAnswer>;
}

interface RouteRequest {
  readonly parameters: Readonly<Record<string, string>>;
  readonly query: unknown;
  /** Parsed JSON; `{}` when the request had no body. */
  readonly body: unknown;
}

export type RouteAnswer =
  | { readonly status: number; readonly json: unknown }
  /** `styleHash`: of the page's style element, which the Content-Security-Policy then allows. */
  | { readonly status: number; readonly html: string; readonly styleHash: string }
  | { readonly problem: HttpProblem };

export async function startHttpServer(options: {
  readonly host: string;
  /** 0 picks a free one. */
  readonly port: number;
  readonly token: string | null;
  readonly metrics: () => Promise<{ readonly contentType: string; readonly body: string }>;
  /** Why this process is not ready; empty means ready. Shown to every caller. */
  readonly readiness: () => readonly string[];
  /** What stops this process from sending, whether it is ready or not; null for nothing. Shown to every caller. */
  readonly obstacle?: () => ShownObstacle | null;
  readonly console: readonly Route[];
  /** A bug in a handler; the caller is told only that it was one. */
  readonly onError: (error: unknown) => void;
}): Promise<HttpServer> {
  const server = createServer(options.onError);

  addMachineRoutes(server, options);
  addConsoleRoutes(server, options.console, toAccess(options.host, options.token));
  refuseOtherMethods(server, options.console);

  await listen(server, options.host, options.port);

  return {
    url: toUrl(server, options.host),
    async close() {
      const force = setTimeout(() => server.server.closeAllConnections(), CLOSE_GRACE_MS);
      await server.close();
      clearTimeout(force);
    },
  };
}

function createServer(onError: (error: unknown) => void): FastifyInstance {
  const server = fastify({
    logger: false,
    bodyLimit: BODY_BYTES_MAX,
    requestTimeout: REQUEST_TIMEOUT_MS,
    connectionTimeout: STALLED_MS,
    http: {
      headersTimeout: HEADERS_TIMEOUT_MS,
      connectionsCheckingInterval: SLOWNESS_CHECK_MS,
    },
    keepAliveTimeout: KEEP_ALIVE_MS,
    forceCloseConnections: "idle",
    return503OnClosing: false,
    routerOptions: { maxParamLength: PATH_PARAMETER_MAX },
    frameworkErrors: (_error, _request, reply) => {
      setCommonHeaders(reply);
      void sendProblem(reply, unreadable("The path cannot be read."));
    },
  });
  server.server.maxConnections = SOCKETS_MAX;
  limitConnections(server.server, {
    connectionsMax: CONNECTIONS_MAX,
    unansweredMax: UNANSWERED_MAX,
  });

  server.removeAllContentTypeParsers();
  server.addContentTypeParser(
    "application/json",
    { parseAs: "string" },
    async (_request: FastifyRequest, body: string) => parseJson(body),
  );

  server.addHook("onRequest", async (request, reply) => {
    // What was read together with the request that closed the connection.
    if (request.raw.socket.destroyed) return reply.hijack();
    setCommonHeaders(reply);
  });
  server.setNotFoundHandler((_request, reply) =>
    sendProblem(reply, { status: 404, title: "Not Found", detail: "There is nothing here." }),
  );
  server.setErrorHandler((error, _request, reply) => {
    const problem = toProblem(error);
    if (problem.status >= 500) onError(error);
    return sendProblem(reply, problem);
  });
  return server;
}

function addMachineRoutes(
  server: FastifyInstance,
  {
    metrics,
    readiness,
    obstacle = () => null,
  }: Pick<Parameters<typeof startHttpServer>[0], "metrics" | "readiness" | "obstacle">,
): void {
  server.get("/metrics", async (_request, reply) => {
    const { contentType, body } = await metrics();
    return reply.header("content-type", contentType).send(body);
  });

  server.get("/healthz", async () => ({ status: "alive" }));

  server.get("/readyz", async (_request, reply) => {
    const reasons = readiness();
    const shown = toShown(obstacle());
    if (reasons.length === 0) return reply.send({ status: "ready", ...shown });

    return sendProblem(reply, {
      status: 503,
      title: "Not Ready",
      detail: reasons.join("; "),
      extra: { reasons, ...shown },
    });
  });
}

function toShown(obstacle: ShownObstacle | null): Readonly<Record<string, unknown>> {
  if (obstacle === null) return {};
  const { by, since, until } = obstacle;
  return { sending: { stopped_by: by, since, until } };
}

function addConsoleRoutes(server: FastifyInstance, routes: readonly Route[], access: Access): void {
  for (const { method, path, handle } of routes) {
    server.route({
      method,
      url: path,
      onRequest: async (request, reply) => {
        const refusal = findAccessRefusal(request, access);
        if (refusal !== null) return refuse(reply, refusal);
      },
      handler: async (request, reply) => {
        const answer = await handle({
          parameters: request.params as Record<string, string>,
          query: request.query,
          body: request.body ?? {},
        });
        return sendAnswer(reply, answer);
      },
    });
  }
}

/** A known path answers other methods with 405 and the list of its own; fastify would answer 404. */
function refuseOtherMethods(server: FastifyInstance, routes: readonly Route[]): void {
  const methods: HTTPMethods[] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
  const paths = new Set(["/metrics", "/healthz", "/readyz", ...routes.map(({ path }) => path)]);

  for (const url of paths) {
    const allowed = methods.filter((method) => server.hasRoute({ method, url }));

    server.route({
      method: methods.filter((method) => !allowed.includes(method)),
      url,
      // Before the body is parsed, or a wrong method with a wrong body would be answered as a wrong body.
      onRequest: async (_request, reply) => {
        reply.header("allow", allowed.join(", "));
        return sendProblem(reply, {
          status: 405,
          title: "Method Not Allowed",
          detail: `Allowed here: ${allowed.join(", ")}.`,
        });
      },
      handler: async () => undefined,
    });
  }
}

function setCommonHeaders(reply: FastifyReply): void {
  void reply.headers({
    "cache-control": "no-store",
    "content-security-policy": toContentSecurityPolicy("'none'"),
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
  });
}

function toContentSecurityPolicy(styleSource: string): string {
  return `default-src 'none'; style-src ${styleSource}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`;
}

function sendAnswer(reply: FastifyReply, answer: RouteAnswer): FastifyReply {
  if ("problem" in answer) return sendProblem(reply, answer.problem);
  if ("json" in answer) return reply.code(answer.status).send(answer.json);

  return reply
    .code(answer.status)
    .header("content-security-policy", toContentSecurityPolicy(`'${answer.styleHash}'`))
    .header("content-type", "text/html; charset=utf-8")
    .send(answer.html);
}

function refuse(reply: FastifyReply, refusal: AccessRefusal): FastifyReply {
  if (refusal.challenge !== undefined) reply.header("www-authenticate", refusal.challenge);
  return sendProblem(reply, refusal);
}

function sendProblem(
  reply: FastifyReply,
  { status, title, detail, extra }: HttpProblem,
): FastifyReply {
  const body = { type: "about:blank", title, status, detail, ...extra };
  // As bytes: to a string of some JSON type fastify adds a charset, which JSON does not have.
  return reply
    .code(status)
    .header("content-type", "application/problem+json")
    .send(Buffer.from(JSON.stringify(body)));
}

/** fastify's own errors have a status; their texts are not for callers, so each known one gets a text of ours. */
function toProblem(error: unknown): HttpProblem {
  const { statusCode } = error as { readonly statusCode?: unknown };

  switch (statusCode) {
    case 413:
      return {
        status: 413,
        title: "Content Too Large",
        detail: `A body may have ${BODY_BYTES_MAX} bytes.`,
      };
    case 415:
      return notJson();
    case 400:
      return unreadable("The request cannot be read; a body must be JSON.");
    default:
      return {
        status: 500,
        title: "Internal Server Error",
        detail: "This is a bug of ours; the log has its trace.",
      };
  }
}

/** An empty body counts as none: `curl -X POST -H 'content-type: application/json'` means the defaults. */
function parseJson(text: string): unknown {
  if (text.trim() === "") return {};

  try {
    return parseExactJson(text);
  } catch {
    throw Object.assign(new Error("body is not JSON"), { statusCode: 400 });
  }
}

async function listen(server: FastifyInstance, host: string, port: number): Promise<void> {
  try {
    await server.listen({ host, port });
  } catch (error) {
    await server.close();
    throw toListenError(error as NodeJS.ErrnoException, host, port);
  }
}

function toListenError(error: NodeJS.ErrnoException, host: string, port: number): OperatorError {
  switch (error.code) {
    case "EADDRINUSE":
      return new OperatorError(`HTTP_PORT ${port} on ${host} is in use by another process.`, {
        hint: "Stop it (another account-sync, perhaps), or set HTTP_PORT to another port, 0 for any free one.",
        cause: error,
      });
    case "EACCES":
      return new OperatorError(`HTTP_PORT ${port} on ${host} is not ours to open.`, {
        hint: "Set HTTP_PORT to one above 1023.",
        cause: error,
      });
    default:
      return new OperatorError(
        `HTTP_HOST ${host} cannot be listened on (${error.code ?? "unknown reason"}).`,
        { hint: "Set HTTP_HOST to an address of this machine.", cause: error },
      );
  }
}

function toUrl(server: FastifyInstance, host: string): string {
  const address = server.server.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;
  return `http://${isIPv6(host) ? `[${host}]` : host}:${port}`;
}
