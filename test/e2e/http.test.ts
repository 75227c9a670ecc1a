/** The HTTP server as its callers meet it: Prometheus, a probe, an operator with curl, and a hostile web page. */
import { request as httpRequest } from "node:http";
import { connect } from "node:net";
import { afterEach, expect, test } from "vitest";
import {
  type AccountDetail,
  type AccountsPage,
  apiRoutes,
  type ConsoleProcess,
  type ConsoleQueue,
  type RetrySelection,
} from "../../src/console/api.ts";
import { statusPageRoute } from "../../src/console/status-page.ts";
import type { KnownObstacle, Obstacle } from "../../src/obstacle.ts";
import { type HttpServer, startHttpServer } from "../../src/ops/http.ts";
import { createMetrics } from "../../src/ops/metrics.ts";
import { eventually } from "../support/eventually.ts";

const token = "correct horse battery staple".replaceAll(" ", "-");

const parked: AccountDetail = {
  account_id: "a/1",
  state: "parked",
  changed_at: "2026-11-01T10:00:00Z",
  due_at: null,
  attempts: 3,
  error_class: "rejected",
  error: 'the API refused <script>alert("x")</script>',
  last_synced_at: null,
  explanation: "Nothing is sent until its data are corrected.",
  history: [],
};

interface QueueCalls {
  readonly pages: AccountsPage[];
  readonly requests: { readonly id: string; readonly how: unknown }[];
  readonly retries: RetrySelection[];
  readonly adopted: string[][];
  readonly forgotten: unknown[][];
}

const open: HttpServer[] = [];

afterEach(async () => {
  await Promise.all(open.splice(0).map((server) => server.close()));
});

test("metrics, health and readiness are open while the console is closed without a token", async () => {
  const { server } = await start({ host: "0.0.0.0" });

  const metrics = await ask(server, { path: "/metrics" });
  const alive = await ask(server, { path: "/healthz" });
  const ready = await ask(server, { path: "/readyz" });
  const console = await ask(server, { path: "/" });
  const action = await ask(server, { method: "POST", path: "/api/accounts/1/sync" });

  expect(metrics.status).toBe(200);
  expect(metrics.headers["content-type"]).toContain("text/plain; version=0.0.4");
  expect(metrics.body).toContain('account_sync_build_info{version="1.2.3"} 1');
  expect([alive.status, ready.status]).toEqual([200, 200]);
  expect([console.status, action.status]).toEqual([403, 403]);
  expect(console.json["detail"]).toContain("HTTP_TOKEN");
});

test("readiness says why not, as a problem", async () => {
  const { server } = await start({ reasons: ["draining", "database does not answer"] });

  const ready = await ask(server, { path: "/readyz" });

  expect(ready.status).toBe(503);
  expect(ready.headers["content-type"]).toBe("application/problem+json");
  expect(ready.json).toMatchObject({
    status: 503,
    title: "Not Ready",
    reasons: ["draining", "database does not answer"],
  });
});

test("readiness says what stops the sending and until when, ready or not, and not in the API's words", async () => {
  const obstacle: KnownObstacle = {
    by: "circuit_open",
    reason: "create answered 503 to Budi",
    since: "2026-11-01T09:50:00.000Z",
    until: "2026-11-01T10:05:00.000Z",
  };
  const ready = await start({ obstacle });
  const notReady = await start({ obstacle: { ...obstacle, until: null }, reasons: ["draining"] });

  const [yes, no] = await Promise.all([
    ask(ready.server, { path: "/readyz" }),
    ask(notReady.server, { path: "/readyz" }),
  ]);

  const sending = { stopped_by: "circuit_open", since: "2026-11-01T09:50:00.000Z" };
  expect([yes.status, yes.json]).toEqual([
    200,
    { status: "ready", sending: { ...sending, until: "2026-11-01T10:05:00.000Z" } },
  ]);
  expect([no.status, no.json]).toMatchObject([503, { sending: { ...sending, until: null } }]);
  expect(yes.body + no.body).not.toContain("Budi");
});

test("the status says who sends, and what stops it", async () => {
  const { server } = await start({});

  const status = await ask(server, { path: "/api/status" });
  const page = await ask(server, { path: "/" });

  expect(status.json["sending"]).toEqual({
    daemons: 1,
    daemons_stopped: 1,
    stopped_by: "unauthorized",
    since: "2026-11-01T09:50:00+00:00",
    until: "2026-11-01T10:05:00+00:00",
    reason: "401 <b>no</b>",
    remedy: expect.stringContaining("CUSTOMER_API_TOKEN"),
  });
  expect(page.body).toContain(
    "<strong>Nothing is sent: the API refuses our credentials since 09:50:00 (401 &lt;b&gt;no&lt;/b&gt;); tried again at 10:05:00.</strong>",
  );
});

test("metrics answer while the database hangs", async () => {
  const { server } = await start({ queue: { status: () => new Promise(() => undefined) } });

  const startedAt = performance.now();
  const metrics = await ask(server, { path: "/metrics" });

  expect(metrics.status).toBe(200);
  expect(performance.now() - startedAt).toBeLessThan(4_000);
});

test.each([
  ["no token", {}, 401],
  ["a wrong token", { authorization: "Bearer wrong" }, 401],
  ["a prefix of the token", { authorization: `Bearer ${token.slice(0, -1)}` }, 401],
  ["the token in another scheme", { authorization: `Digest ${token}` }, 401],
  ["the token", { authorization: `Bearer ${token}` }, 200],
  ["the token as a browser's password", { authorization: basic("anyone", token) }, 200],
  ["the token as a user name", { authorization: basic(token, "") }, 401],
])("with a token set, %s gets its answer", async (_name, headers, status) => {
  const { server } = await start({ host: "0.0.0.0", token });

  const answer = await ask(server, { path: "/api/status", headers });

  expect(answer.status).toBe(status);
});

test("an unauthorized answer says how to authenticate", async () => {
  const { server } = await start({ token });

  const answer = await ask(server, { path: "/" });

  expect(answer.headers["www-authenticate"]).toMatch(/Bearer realm=.*Basic realm=/);
  expect(answer.body).not.toContain(token);
});

test.each([
  ["127.0.0.1:80", 200],
  ["localhost", 200],
  ["LOCALHOST:9464", 200],
  ["[::1]:9464", 200],
  ["evil.example", 403],
  ["127.0.0.1.evil.example", 403],
  ["localhost.evil.example:9464", 403],
  ["evil.example@", 403],
])("on loopback without a token, Host %s gets %i", async (host, status) => {
  const { server } = await start({});

  const answer = await ask(server, { path: "/api/status", headers: { host } });

  expect(answer.status).toBe(status);
});

test.each([
  ["another site's fetch", { "sec-fetch-site": "cross-site" }, 403],
  ["a neighbour on the same site", { "sec-fetch-site": "same-site" }, 403],
  ["another origin", { origin: "http://evil.example" }, 403],
  ["a sandboxed page", { origin: "null" }, 403],
  ["our own page", { "sec-fetch-site": "same-origin" }, 202],
  ["curl", {}, 202],
])("an action asked for by %s gets its answer", async (_name, headers, status) => {
  const { server, calls } = await start({});

  const answer = await ask(server, { method: "POST", path: "/api/accounts/1/sync", headers });

  expect(answer.status).toBe(status);
  expect(calls.requests).toHaveLength(status === 202 ? 1 : 0);
});

test("a form cannot pass for JSON", async () => {
  const { server, calls } = await start({});
  const headers = { "content-type": "text/plain" };

  const answer = await ask(server, {
    method: "POST",
    path: "/api/accounts/retry",
    headers,
    body: '{"all":true}',
  });

  expect(answer.status).toBe(415);
  expect(calls.retries).toEqual([]);
});

test("a sync request reaches the queue with what was asked", async () => {
  const { server, calls } = await start({});

  const plain = await post(server, "/api/accounts/a%2F1/sync", {});
  const detailed = await post(server, "/api/accounts/2/sync", {
    user_id: "rina",
    config_id: "c1",
    force: false,
  });

  expect([plain.status, detailed.status]).toEqual([202, 202]);
  expect(calls.requests).toEqual([
    { id: "a/1", how: { userId: null, configId: null, force: true } },
    { id: "2", how: { userId: "rina", configId: "c1", force: false } },
  ]);
});

test("retry takes ids, a class or all, and says how many", async () => {
  const { server, calls } = await start({});

  const answers = [
    await post(server, "/api/accounts/retry", { ids: ["1", "2"] }),
    await post(server, "/api/accounts/retry", { class: "rejected" }),
    await post(server, "/api/accounts/retry", { all: true }),
    await post(server, "/api/accounts/retry", { ids: ["1"], discard: true }),
    await post(server, "/api/accounts/retry", { ids: ["1"], discard: false }),
  ];

  expect(answers.map(({ json }) => json)).toEqual(answers.map(() => ({ retried: 7 })));
  expect(calls.retries).toEqual([
    { ids: ["1", "2"] },
    { errorClass: "rejected" },
    { all: true },
    { ids: ["1"], discard: true },
    { ids: ["1"] },
  ]);
});

test("a customer is adopted, and ids are forgotten, of one account", async () => {
  const { server, calls } = await start({});

  const adopted = await post(server, "/api/accounts/a%2F1/adopt", { external_id: "cus-1" });
  const forgotten = await post(server, "/api/accounts/a%2F1/forget", {});
  await post(server, "/api/accounts/1/forget", { tier_id: "t", pic_id: null });

  const answer = { account_id: "a/1", status_url: "/api/accounts/a%2F1" };
  expect([adopted.status, adopted.json]).toEqual([200, { ...answer, external_id: "cus-1" }]);
  expect([forgotten.status, forgotten.json]).toEqual([200, { ...answer, forgotten: 3 }]);
  expect(calls.adopted).toEqual([["a/1", "cus-1"]]);
  expect(calls.forgotten).toEqual([
    ["a/1", { tierId: null, picId: null }],
    ["1", { tierId: "t", picId: null }],
  ]);
});

test.each([
  ["P0002", 404],
  ["22023", 400],
  ["23505", 409],
  ["55006", 409],
])("what the database refuses with a sentence of ours (%s) is a %s", async (code, status) => {
  const refuses = async () => {
    throw Object.assign(new Error("Account 2 has the external id x already"), {
      code,
      schema: "account_sync",
      hint: "Look.",
    });
  };
  const { server, errors } = await start({ queue: { adopt: refuses, forget: refuses } });

  const answers = [
    await post(server, "/api/accounts/1/adopt", { external_id: "x" }),
    await post(server, "/api/accounts/1/forget", {}),
  ];

  for (const answer of answers) {
    expect(answer.status).toBe(status);
    expect(answer.headers["content-type"]).toBe("application/problem+json");
    expect(answer.json["detail"]).toBe("Account 2 has the external id x already. Look.");
  }
  expect(errors).toEqual([]);
});

test.each([
  { schema: "public", table: "m_account" },
  { schema: "account_sync", table: "mapped_id" },
  {},
])("an error of a table (%j) is not shown", async (at) => {
  const refuses = async () => {
    throw Object.assign(new Error("Key (email)=(budi@example.com)"), { code: "23505", ...at });
  };
  const { server } = await start({ queue: { adopt: refuses } });

  const answer = await post(server, "/api/accounts/1/adopt", { external_id: "x" });

  expect(answer.status).toBe(503);
  expect(answer.body).not.toContain("budi");
});

test("ids that are numbers keep every digit, and what is no whole number is refused", async () => {
  const { server, calls } = await start({});

  const retried = await postText(server, "/api/accounts/retry", '{"ids": [12, 9007199254740993]}');
  const asked = await postText(
    server,
    "/api/accounts/1/sync",
    '{"config_id": 12345678901234567890}',
  );
  const refused = await postText(server, "/api/accounts/retry", '{"ids": [12.5]}');

  expect([retried.status, asked.status, refused.status]).toEqual([200, 202, 400]);
  expect(calls.retries).toEqual([{ ids: ["12", "9007199254740993"] }]);
  expect(calls.requests).toMatchObject([{ how: { configId: "12345678901234567890" } }]);
});

test.each([
  ["nothing selected", "/api/accounts/retry", {}],
  ["two selections", "/api/accounts/retry", { all: true, class: "rejected" }],
  ["an unknown class", "/api/accounts/retry", { class: "rude" }],
  ["no ids", "/api/accounts/retry", { ids: [] }],
  ["no external id", "/api/accounts/1/adopt", {}],
  ["an empty external id", "/api/accounts/1/adopt", { external_id: "" }],
  ["an external id that is too long", "/api/accounts/1/adopt", { external_id: "x".repeat(256) }],
  ["an unknown row", "/api/accounts/1/forget", { tier: "1" }],
  ["an unknown key", "/api/accounts/1/sync", { user: "rina" }],
  ["a user longer than updated_by", "/api/accounts/1/sync", { user_id: "x".repeat(51) }],
  ["a zero byte", "/api/accounts/a%00b/sync", {}],
  ["no object", "/api/accounts/1/sync", [1]],
])("input with %s is refused with a reason", async (_name, path, body) => {
  const { server, calls } = await start({});

  const answer = await post(server, path, body);

  expect(answer.status).toBe(400);
  expect(answer.headers["content-type"]).toBe("application/problem+json");
  expect(answer.json["errors"]).not.toEqual([]);
  expect([...calls.requests, ...calls.retries, ...calls.adopted, ...calls.forgotten]).toEqual([]);
});

test("accounts come in pages of one state", async () => {
  const { server, calls } = await start({});

  const page = await ask(server, { path: "/api/accounts?state=parked&cursor=c1&limit=5" });
  const wrong = await ask(server, { path: "/api/accounts?state=lost" });
  const tooMany = await ask(server, { path: "/api/accounts?limit=501" });

  expect(page.json).toMatchObject({ accounts: [{ account_id: "a/1" }], next_cursor: "c2" });
  expect(calls.pages).toEqual([{ state: "parked", cursor: "c1", limit: 5 }]);
  expect([wrong.status, tooMany.status]).toEqual([400, 400]);
});

test("one account comes with its history, an unknown one is not found", async () => {
  const { server } = await start({});

  const known = await ask(server, { path: "/api/accounts/a%2F1" });
  const unknown = await ask(server, { path: "/api/accounts/nobody" });

  expect(known.json).toEqual(parked);
  expect(unknown.status).toBe(404);
  expect(unknown.headers["content-type"]).toBe("application/problem+json");
});

test("while the database is away the page and the status still answer, the rest says 503", async () => {
  const secret = "detail: Key (email)=(budi@example.com)";
  const away = () => Promise.reject(new Error(secret));
  const { server, errors } = await start({
    queue: {
      status: away,
      accounts: away,
      account: away,
      request: away,
      retry: away,
      adopt: away,
      forget: away,
    },
  });

  const page = await ask(server, { path: "/" });
  const status = await ask(server, { path: "/api/status" });
  const rest = [
    await ask(server, { path: "/api/accounts" }),
    await ask(server, { path: "/api/accounts/1" }),
    await post(server, "/api/accounts/1/sync", {}),
    await post(server, "/api/accounts/retry", { all: true }),
    await post(server, "/api/accounts/1/adopt", { external_id: "x" }),
    await post(server, "/api/accounts/1/forget", {}),
  ];

  expect(page.status).toBe(200);
  expect(page.body).toContain("The database did not answer");
  expect(status.json).toMatchObject({ pending_accounts: null, listener: "up", circuit: "open" });
  expect(rest.map((answer) => answer.status)).toEqual([503, 503, 503, 503, 503, 503]);
  expect(errors).toHaveLength(8);
  expect([page, status, ...rest].map(({ body }) => body).join()).not.toContain("budi");
});

test("the status page escapes what it shows and lets nothing else run", async () => {
  const { server } = await start({});

  const page = await ask(server, { path: "/" });

  expect(page.status).toBe(200);
  expect(page.body).toContain("&lt;script&gt;alert(&quot;x&quot;)&lt;/script&gt;");
  expect(page.body).not.toContain("<script");
  expect(page.body).toContain('<a href="/api/accounts/a%2F1">a/1</a>');
  expect(page.body).toContain('<html lang="en">');
  expect(page.body).toMatch(/<meta http-equiv="refresh"/);
  expect(page.headers["content-security-policy"]).toMatch(
    /^default-src 'none'; style-src 'sha256-[^']+'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'$/,
  );
  expect(page.body).not.toMatch(/(src|href)="(https?:)?\/\//);
});

test("the refresh can be stopped", async () => {
  const { server } = await start({});

  const page = await ask(server, { path: "/?refresh=off" });

  expect(page.body).not.toContain("http-equiv");
});

test("an unknown path is a problem, a wrong method says which are right", async () => {
  const { server } = await start({});

  const unknown = await ask(server, { path: "/admin" });
  const wrong = await ask(server, {
    method: "DELETE",
    path: "/api/accounts/1",
    headers: { "content-type": "text/weird", "content-length": "1" },
    body: "x",
  });
  const preflight = await ask(server, { method: "OPTIONS", path: "/api/accounts/retry" });
  const head = await ask(server, { method: "HEAD", path: "/healthz" });

  expect([unknown.status, unknown.headers["content-type"]]).toEqual([
    404,
    "application/problem+json",
  ]);
  expect([wrong.status, wrong.headers["allow"]]).toEqual([405, "GET, HEAD"]);
  expect([preflight.status, preflight.headers["allow"]]).toEqual([405, "POST"]);
  expect(preflight.headers["access-control-allow-origin"]).toBeUndefined();
  expect(head.status).toBe(200);
});

test.each([
  ["broken JSON", "/api/accounts/retry", "{", 400],
  ["an endless body", "/api/accounts/retry", JSON.stringify({ ids: ["x".repeat(70_000)] }), 413],
  ["a path that is no UTF-8", "/api/accounts/%E0%A4%A/sync", "{}", 400],
  ["an endless id", `/api/accounts/${"x".repeat(600)}/sync`, "{}", 400],
])("%s is refused as a problem", async (_name, path, body, status) => {
  const { server } = await start({});

  const answer = await ask(server, {
    method: "POST",
    path,
    headers: { "content-type": "application/json" },
    body,
  });

  expect(answer.status).toBe(status);
  expect(answer.headers["content-type"]).toBe("application/problem+json");
});

test("a bug of ours is reported to the log and hidden from the caller", async () => {
  const { server, errors } = await start({ metrics: () => Promise.reject(new Error("inside")) });

  const answer = await ask(server, { path: "/metrics" });

  expect(answer.status).toBe(500);
  expect(answer.body).not.toContain("inside");
  expect(errors).toEqual([new Error("inside")]);
});

test("a port in use is one clear error", async () => {
  const { server } = await start({});
  const port = Number(new URL(server.url).port);

  const second = start({ port });

  await expect(second).rejects.toThrow(`HTTP_PORT ${port} on 127.0.0.1 is in use`);
});

test("an address that is not ours is one clear error", async () => {
  const elsewhere = start({ host: "192.0.2.1" });

  await expect(elsewhere).rejects.toThrow("HTTP_HOST 192.0.2.1 cannot be listened on");
});

test("a connection may have eight requests that wait for their answers, again and again; one more ends it", async () => {
  const { server } = await start({});
  const { hostname, port } = new URL(server.url);
  const socket = connect(Number(port), hostname).setEncoding("utf8");
  socket.on("error", () => undefined);
  const gone = new Promise((resolve) => socket.once("close", resolve));
  let answers = 0;
  socket.on("data", (text: string) => {
    answers += text.split("HTTP/1.1 200").length - 1;
  });
  const ask = (times: number) =>
    socket.write("GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n".repeat(times));

  for (const round of [1, 2, 3]) {
    ask(8);
    await eventually(() => expect(answers).toBe(8 * round));
  }
  ask(9);
  await gone;

  expect(answers).toBe(24);
  expect((await fetch(`${server.url}/healthz`)).status).toBe(200);
});

test("closing does not wait for a caller that never finishes", async () => {
  const { server } = await start({});
  const { hostname, port } = new URL(server.url);
  const slow = connect(Number(port), hostname);
  await new Promise((resolve) => slow.once("connect", resolve));
  const gone = new Promise((resolve) => slow.once("close", resolve));
  slow.on("error", () => undefined);
  slow.write("POST /api/accounts/retry HTTP/1.1\r\nhost: localhost\r\ncontent-length: 5\r\n");

  const startedAt = performance.now();
  await server.close();
  await gone;

  expect(performance.now() - startedAt).toBeLessThan(4_000);
});

async function start(options: {
  readonly host?: string;
  readonly port?: number;
  readonly token?: string;
  readonly reasons?: readonly string[];
  readonly obstacle?: KnownObstacle;
  readonly queue?: Partial<ConsoleQueue>;
  readonly metrics?: () => Promise<{ contentType: string; body: string }>;
}) {
  const errors: unknown[] = [];
  const calls: QueueCalls = { pages: [], requests: [], retries: [], adopted: [], forgotten: [] };
  const onError = (error: unknown) => void errors.push(error);
  const readiness = () => options.reasons ?? [];
  const process: ConsoleProcess = {
    version: "1.2.3",
    readiness,
    health: () => ({ listener: "up", circuit: "open" }),
    obstacle: () => (options.obstacle as Obstacle | undefined) ?? null,
  };
  const queue: ConsoleQueue = { ...createQueue(calls), ...options.queue };
  const metrics = createMetrics({ version: "1.2.3", queueStatus: queue.status });

  const server = await startHttpServer({
    host: options.host ?? "127.0.0.1",
    port: options.port ?? 0,
    token: options.token ?? null,
    metrics: options.metrics ?? metrics.scrape,
    readiness,
    obstacle: () => options.obstacle ?? null,
    console: [
      statusPageRoute({ queue, process, onError }),
      ...apiRoutes({ queue, process, onError }),
    ],
    onError,
  });
  open.push(server);
  return { server, errors, calls };
}

function createQueue({ pages, requests, retries, adopted, forgotten }: QueueCalls): ConsoleQueue {
  return {
    status: async () => ({
      byState: { waiting: 1, due: 2, running: 3, retrying: 4, parked: 5, blocked: 6 },
      oldestPendingSeconds: 90,
    }),
    sending: async () => ({
      at: "2026-11-01T10:00:00+00:00",
      daemons: 1,
      daemonsStopped: 1,
      obstacle: {
        by: "unauthorized",
        since: "2026-11-01T09:50:00+00:00",
        until: "2026-11-01T10:05:00+00:00",
        reason: "401 <b>no</b>",
      },
    }),
    accounts: async (page) => {
      pages.push(page);
      return { accounts: page.state === "parked" ? [parked] : [], nextCursor: "c2" };
    },
    account: async (id) => (id === parked.account_id ? parked : null),
    request: async (id, how) => void requests.push({ id, how }),
    retry: async (which) => {
      retries.push(which);
      return 7;
    },
    adopt: async (...asked) => void adopted.push(asked),
    forget: async (...asked) => {
      forgotten.push(asked);
      return 3;
    },
  };
}

interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | undefined>>;
  readonly body: string;
  readonly json: Readonly<Record<string, unknown>>;
}

function post(server: HttpServer, path: string, body: unknown): Promise<Answer> {
  return postText(server, path, JSON.stringify(body));
}

function postText(server: HttpServer, path: string, body: string): Promise<Answer> {
  const headers = { "content-type": "application/json" };
  return ask(server, { method: "POST", path, headers, body });
}

/** node:http and not fetch, which lets nobody set Host. */
function ask(
  server: HttpServer,
  question: {
    readonly method?: string;
    readonly path: string;
    readonly headers?: Readonly<Record<string, string>>;
    readonly body?: string;
  },
): Promise<Answer> {
  const { port } = new URL(server.url);
  const { method = "GET", path, headers = {}, body } = question;

  return new Promise((resolve, reject) => {
    const request = httpRequest(
      { host: "127.0.0.1", port, method, path, headers, agent: false },
      (response) => {
        const chunks: Buffer[] = [];
        response.on("data", (chunk: Buffer) => chunks.push(chunk));
        response.on("error", reject);
        response.on("end", () => resolve(toAnswer(response, Buffer.concat(chunks).toString())));
      },
    );
    request.on("error", reject);
    request.end(body);
  });
}

function toAnswer(
  response: {
    readonly statusCode?: number | undefined;
    readonly headers: NodeJS.Dict<string | string[]>;
  },
  body: string,
): Answer {
  const headers = Object.entries(response.headers).map(([name, value]) => [name, String(value)]);
  const isJson = /json/.test(String(response.headers["content-type"]));

  return {
    status: response.statusCode ?? 0,
    headers: Object.fromEntries(headers),
    body,
    json: isJson && body !== "" ? (JSON.parse(body) as Record<string, unknown>) : {},
  };
}

function basic(user: string, password: string): string {
  return `Basic ${Buffer.from(`${user}:${password}`).toString("base64")}`;
}
