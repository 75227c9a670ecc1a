/**
 * The one HTTP server of a daemon: metrics and health for machines, and whatever routes the console hands in for humans.
 *
 * `/metrics`, `/healthz` and `/readyz` are open. The console needs the token, or, where there is none, a server that only
 * this machine can reach, and then a request that no foreign web page can have made. Only this file knows fastify.
 */
import { createHash, timingSafeEqual } from "node:crypto";
import { isIPv6 } from "node:net";
import {
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
  fastify,
  type HTTPMethods,
} from "fastify";
import { isLoopback } from "../loopback.ts";
import type { KnownObstacle } from "../obstacle.ts";
import { OperatorError } from "../operator-error.ts";
import { limitConnections } from "./connection-limit.ts";

const bodyBytesMax = 64 * 1024;
const pathParameterMax = 500;
const requestTimeoutMs = 10_000;
/** From the connect, or the first byte of a later request: a socket that sends nothing, or headers without an end, is closed then. */
const headersTimeoutMs = 5_000;
/** Node looks for those that are too slow this often; by default only twice a minute. */
const slownessCheckEveryMs = 1_000;
const keepAliveMs = 5_000;
/** Nothing moved on a connection for so long: its reader does not read, and must not keep one of the places. */
const stalledMs = 30_000;
const connectionsMax = 256;
/** Connections that make room for new ones are gone only at the end of a turn of the event loop: until then they count here. */
const socketsMax = 4 * connectionsMax;
/** An answer that is still being written when we stop gets this long. */
const closeGraceMs = 2_000;

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
  /** `styleHash`: what the Content-Security-Policy lets the page's own style element through with. */
  | { readonly status: number; readonly html: string; readonly styleHash: string }
  | { readonly problem: Problem };

/** RFC 9457; `detail` is for whoever asked, so nothing of our inside belongs there. */
export interface Problem {
  readonly status: number;
  readonly title: string;
  readonly detail: string;
  readonly extra?: Readonly<Record<string, unknown>>;
}

export async function startHttpServer(options: {
  readonly host: string;
  /** 0 picks a free one. */
  readonly port: number;
  readonly token: string | null;
  readonly metrics: () => Promise<{ readonly contentType: string; readonly body: string }>;
  /** Why we are not ready; empty means ready. Shown to everybody who asks. */
  readonly readiness: () => readonly string[];
  /** What stops this process from sending, whether it is ready or not; null for nothing. Shown to every caller, too. */
  readonly obstacle?: () => ShownObstacle | null;
  readonly console: readonly Route[];
  /** A bug in a handler: the caller learns only that it was one. */
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
      const force = setTimeout(() => server.server.closeAllConnections(), closeGraceMs);
      await server.close();
      clearTimeout(force);
    },
  };
}

function createServer(onError: (error: unknown) => void): FastifyInstance {
  const server = fastify({
    logger: false,
    bodyLimit: bodyBytesMax,
    requestTimeout: requestTimeoutMs,
    connectionTimeout: stalledMs,
    http: {
      headersTimeout: headersTimeoutMs,
      connectionsCheckingInterval: slownessCheckEveryMs,
    },
    keepAliveTimeout: keepAliveMs,
    forceCloseConnections: "idle",
    return503OnClosing: false,
    routerOptions: { maxParamLength: pathParameterMax },
    frameworkErrors: (_error, _request, reply) => {
      setCommonHeaders(reply);
      void sendProblem(reply, unreadable("The path cannot be read."));
    },
  });
  server.server.maxConnections = socketsMax;
  limitConnections(server.server, connectionsMax);

  server.removeAllContentTypeParsers();
  server.addContentTypeParser(
    "application/json",
    { parseAs: "string" },
    async (_request: FastifyRequest, body: string) => parseJson(body),
  );

  server.addHook("onRequest", async (_request, reply) => setCommonHeaders(reply));
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
        const refusal = refuseCaller(request, access) ?? refuseForeignPage(request);
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

/** Every path we know answers the methods it does not have with 405 and those it has; fastify would say 404. */
function refuseOtherMethods(server: FastifyInstance, routes: readonly Route[]): void {
  const methods: HTTPMethods[] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
  const paths = new Set(["/metrics", "/healthz", "/readyz", ...routes.map(({ path }) => path)]);

  for (const url of paths) {
    const allowed = methods.filter((method) => server.hasRoute({ method, url }));

    server.route({
      method: methods.filter((method) => !allowed.includes(method)),
      url,
      // Before the body is looked at, or a wrong method with a wrong body would be called a wrong body.
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

/** Who may use the console: whoever knows the token, whoever is on this machine, or nobody. */
type Access =
  | { readonly kind: "token"; readonly digest: Buffer }
  | { readonly kind: "loopback" }
  | { readonly kind: "closed" };

function toAccess(host: string, token: string | null): Access {
  if (token !== null && token !== "") return { kind: "token", digest: toDigest(token) };
  return { kind: isLoopback(host) ? "loopback" : "closed" };
}

interface Refusal extends Problem {
  readonly challenge?: readonly string[];
}

function refuseCaller(request: FastifyRequest, access: Access): Refusal | null {
  switch (access.kind) {
    case "closed":
      return forbidden(
        "The console is closed: set HTTP_TOKEN and send it as a bearer token, or bind HTTP_HOST to a loopback address.",
      );

    case "loopback":
      // A web page may point its own name at 127.0.0.1 (DNS rebinding); what it cannot change is the Host it then sends.
      if (isLoopback(toHostname(request.headers.host))) return null;
      return forbidden(
        "Without HTTP_TOKEN the console answers only to localhost or a loopback address as the host name.",
      );

    case "token": {
      const given = toGivenToken(request.headers.authorization);
      // Digests have one length, so neither the token's length nor its first letters show in the time this takes.
      if (given !== null && timingSafeEqual(toDigest(given), access.digest)) return null;
      return {
        status: 401,
        title: "Unauthorized",
        detail:
          "Send the value of HTTP_TOKEN as a bearer token, or in a browser as the password with any user name.",
        challenge: ['Bearer realm="account-sync"', 'Basic realm="account-sync", charset="UTF-8"'],
      };
    }

    default:
      access satisfies never;
      return null;
  }
}

/**
 * Browsers send what they remember of us, or simply reach this machine, along with a form or fetch of any other page. They
 * also say where it came from, and they ask first before they send JSON across origins, which we never allow.
 */
function refuseForeignPage({ method, headers }: FastifyRequest): Refusal | null {
  if (method === "GET" || method === "HEAD") return null;

  const { origin, host } = headers;
  const site = headers["sec-fetch-site"];
  const fromElsewhere = site !== undefined && site !== "same-origin" && site !== "none";

  if (fromElsewhere || (origin !== undefined && toOriginHost(origin) !== host)) {
    return forbidden("Requests from pages of another origin are refused.");
  }

  const hasBody = headers["transfer-encoding"] !== undefined || Number(headers["content-length"]);
  if (hasBody && !/^application\/json\s*(;|$)/i.test(headers["content-type"] ?? "")) {
    return notJson();
  }
  return null;
}

function toGivenToken(authorization: string | undefined): string | null {
  const [, scheme = "", value = ""] = /^(\w+) +(\S+)$/.exec(authorization ?? "") ?? [];

  switch (scheme.toLowerCase()) {
    case "bearer":
      return value;
    case "basic": {
      const pair = Buffer.from(value, "base64").toString();
      return pair.includes(":") ? pair.slice(pair.indexOf(":") + 1) : null;
    }
    default:
      return null;
  }
}

function toDigest(token: string): Buffer {
  return createHash("sha256").update(token).digest();
}

function toHostname(host: string | undefined): string {
  const url = `http://${host ?? ""}`;
  return URL.canParse(url) ? new URL(url).hostname : "";
}

function toOriginHost(origin: string): string | null {
  return URL.canParse(origin) ? new URL(origin).host : null;
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

function refuse(reply: FastifyReply, refusal: Refusal): FastifyReply {
  if (refusal.challenge !== undefined) reply.header("www-authenticate", refusal.challenge);
  return sendProblem(reply, refusal);
}

function sendProblem(reply: FastifyReply, { status, title, detail, extra }: Problem): FastifyReply {
  const body = { type: "about:blank", title, status, detail, ...extra };
  // As bytes: to a string of some JSON type fastify adds a charset, which JSON does not have.
  return reply
    .code(status)
    .header("content-type", "application/problem+json")
    .send(Buffer.from(JSON.stringify(body)));
}

/** fastify's own errors have a code and a status; their texts are not for outside, so each known one gets ours. */
function toProblem(error: unknown): Problem {
  const { statusCode } = error as { readonly statusCode?: unknown };

  switch (statusCode) {
    case 413:
      return {
        status: 413,
        title: "Content Too Large",
        detail: `A body may have ${bodyBytesMax} bytes.`,
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

function unreadable(detail: string): Problem {
  return { status: 400, title: "Bad Request", detail };
}

function forbidden(detail: string): Problem {
  return { status: 403, title: "Forbidden", detail };
}

function notJson(): Problem {
  return {
    status: 415,
    title: "Unsupported Media Type",
    detail: "A body must be application/json.",
  };
}

/** An empty body is no body: `curl -X POST -H 'content-type: application/json'` means the defaults. */
function parseJson(text: string): unknown {
  if (text.trim() === "") return {};

  try {
    return JSON.parse(text);
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
