/** HTTP servers that stand in for a customer API, on real sockets, and the client that is tried on them. */
import http from "node:http";
import net, { type AddressInfo } from "node:net";
import { afterEach } from "vitest";
import { type CustomerApiClient, createCustomerApi } from "../../src/customer-api/client.ts";
import type {
  ApiAuth,
  ApiConnection,
  ApiFailure,
  ApiRequest,
  ApiResult,
  LookupRequest,
} from "../../src/customer-api/customer-api.ts";

const cleanups: (() => unknown)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

export const ANSWER = {
  customer: { data: { id: "cus-1" } },
  branch: { data: { id: "brn-1" } },
  tier: { data: [{ id: "tier-1" }] },
  crew: { data: [] },
};

export const COMMAND = JSON.stringify({
  customer: { name: "Budi Santoso", email: "budi@example.test", msisdn: "+6281234567890" },
  branch: { name: "Toko Melati", code: "ACC-1" },
});

interface ReceivedRequest {
  readonly method: string;
  readonly url: string;
  readonly headers: http.IncomingHttpHeaders;
  readonly body: string;
}

export async function startServer(
  react: (request: http.IncomingMessage, response: http.ServerResponse) => unknown,
) {
  const requests: ReceivedRequest[] = [];
  const sockets = new Set<net.Socket>();
  const server = http.createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    requests.push({
      method: request.method ?? "",
      url: request.url ?? "",
      headers: request.headers,
      body: Buffer.concat(chunks).toString(),
    });
    await react(request, response);
  });
  server.on("connection", (socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));

  const close = async () => {
    server.closeAllConnections();
    if (server.listening) await new Promise((resolve) => server.close(resolve));
  };
  cleanups.push(close);
  const { port } = server.address() as AddressInfo;
  return { url: `http://127.0.0.1:${port}`, requests, openSockets: () => sockets.size, close };
}

/** An API with a token endpoint; `accepts` names the only token it takes, null takes any. */
export async function startTokenApi() {
  type Reaction = (request: http.IncomingMessage, response: http.ServerResponse) => unknown;
  const state = {
    accepts: null as string | null,
    tokens: 0,
    onToken: ((_request, response) => {
      state.tokens += 1;
      const answer = {
        access_token: `token-${state.tokens}`,
        token_type: "Bearer",
        expires_in: 3600,
      };
      sendJson(response, 200, answer);
    }) as Reaction,
    onCommand: ((request, response) => {
      const token = request.headers.authorization?.replace("Bearer ", "");
      const refused = state.accepts !== null && token !== state.accepts;
      sendJson(response, refused ? 401 : 200, refused ? { error: "token expired" } : ANSWER);
    }) as Reaction,
  };
  const server = await startServer((request, response) =>
    request.url === "/oauth/token"
      ? state.onToken(request, response)
      : state.onCommand(request, response),
  );

  return Object.assign(state, {
    url: server.url,
    tokenRequests: () => server.requests.filter(({ url }) => url === "/oauth/token"),
    commands: () => server.requests.filter(({ url }) => url !== "/oauth/token"),
    connection(changes: Partial<Extract<ApiAuth, { kind: "client_credentials" }>> = {}) {
      return connect(server.url, {
        auth: {
          kind: "client_credentials",
          tokenUrl: `${server.url}/oauth/token`,
          clientId: "client-1",
          clientSecret: "s3cret-1",
          scope: null,
          style: "form",
          defaultExpiresInSeconds: 3600,
          ...changes,
        },
      });
    },
  });
}

export async function listenTcp(onSocket: (socket: net.Socket) => void): Promise<number> {
  const sockets = new Set<net.Socket>();
  const server = net.createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => undefined);
    onSocket(socket);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  cleanups.push(() => {
    for (const socket of sockets) socket.destroy();
    return new Promise((resolve) => server.close(resolve));
  });
  return (server.address() as AddressInfo).port;
}

export function startApi(options: { timeoutMs?: number; now?: () => number } = {}) {
  const observed: { operation: string; result: string }[] = [];
  const circuit: [state: string, reason: string][] = [];
  const api: CustomerApiClient = createCustomerApi({
    timeoutMs: options.timeoutMs ?? 5_000,
    userAgent: "account-sync/test",
    backoff: { backoffMinMs: 1_000, backoffMaxMs: 60_000 },
    observe: {
      apiRequest: ({ operation, result }) => observed.push({ operation, result }),
      circuit: (state, reason) => circuit.push([state, reason]),
    },
    ...(options.now === undefined ? {} : { now: options.now }),
    random: () => 1,
  });
  cleanups.push(() => api.close());
  return { api, observed, circuit };
}

export function connect(baseUrl: string, changes: Partial<ApiConnection> = {}): ApiConnection {
  return {
    configId: null,
    baseUrl,
    createMethod: "POST",
    createPath: "/api/customer/command",
    updateMethod: "PUT",
    updatePath: "/api/customer/command/{id}",
    lookupPath: "/api/customer?code={account_no}",
    auth: { kind: "none" },
    headers: {},
    ...changes,
  };
}

export function request(changes: Partial<ApiRequest> = {}): ApiRequest {
  return {
    operation: "create",
    externalId: null,
    body: COMMAND,
    idempotencyKey: "key",
    generation: "1",
    mayBegin: () => true,
    signal: new AbortController().signal,
    ...changes,
  };
}

export function lookupRequest(changes: Partial<LookupRequest> = {}): LookupRequest {
  return {
    accountId: "local-1",
    accountNo: "ACC-1",
    referenceField: null,
    body: COMMAND,
    idempotencyKey: "key",
    mayBegin: () => true,
    signal: new AbortController().signal,
    ...changes,
  };
}

export function failureOf(result: ApiResult): ApiFailure {
  if (result.kind !== "failed") throw new Error("the request was accepted");
  return result.failure;
}

export function observedName(errorClass: string): string {
  return errorClass === "server" ? "server_error" : errorClass;
}

export function sendJson(response: http.ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
}
