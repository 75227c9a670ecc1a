/**
 * The HTTP client against real servers on real sockets: what it sends, and what it makes of every way an API can fail.
 */
import http from "node:http";
import net, { type AddressInfo } from "node:net";
import { gzipSync } from "node:zlib";

import { afterEach, describe, expect, test } from "vitest";

import { type CustomerApiClient, createCustomerApi } from "../../src/customer-api/client.ts";
import type {
  ApiAuth,
  ApiConnection,
  ApiFailure,
  ApiRequest,
  ApiResult,
  LookupRequest,
} from "../../src/customer-api/customer-api.ts";
import { eventually } from "../support/eventually.ts";

const cleanups: (() => unknown)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

const ANSWER = {
  customer: { data: { id: "cus-1" } },
  branch: { data: { id: "brn-1" } },
  tier: { data: [{ id: "tier-1" }] },
  crew: { data: [] },
};

const COMMAND = JSON.stringify({
  customer: { name: "Budi Santoso", email: "budi@example.test", msisdn: "+6281234567890" },
  branch: { name: "Toko Melati", code: "ACC-1" },
});

describe("a request", () => {
  test("carries the headers, the key and the exact body", async () => {
    const server = await startServer((_, response) => sendJson(response, 201, ANSWER));
    const { api } = startApi();

    const result = await api.send(
      connect(server.url, { auth: { kind: "static", token: "token-1" } }),
      request({ idempotencyKey: "key-1", generation: "42" }),
    );

    expect(result).toMatchObject({ kind: "accepted", httpStatus: 201 });
    expect(server.requests).toHaveLength(1);
    expect(server.requests[0]).toMatchObject({
      method: "POST",
      url: "/api/customer/command",
      body: COMMAND,
      headers: {
        authorization: "Bearer token-1",
        "content-type": "application/json",
        "idempotency-key": "key-1",
        "x-sync-generation": "42",
        "user-agent": "account-sync/test",
        "accept-encoding": "identity",
      },
    });
  });

  test("configured headers add, and never override what makes it this request", async () => {
    const server = await startServer((_, response) => sendJson(response, 200, ANSWER));
    const { api } = startApi();
    const headers = {
      "X-Tenant": "t-1",
      Authorization: "Bearer stolen",
      Host: "evil.example",
      "Content-Length": "3",
      "Transfer-Encoding": "chunked",
      Connection: "close",
      "Content-Type": "text/plain",
      "Idempotency-Key": "other",
      "X-Sync-Generation": "0",
      "User-Agent": "other",
      "Accept-Encoding": "gzip",
      Expect: "100-continue",
    };

    const result = await api.send(
      connect(server.url, { headers, auth: { kind: "static", token: "token-1" } }),
      request(),
    );

    expect(result.kind).toBe("accepted");
    expect(server.requests[0]?.headers).toMatchObject({
      "x-tenant": "t-1",
      authorization: "Bearer token-1",
      host: new URL(server.url).host,
      "content-type": "application/json",
      "content-length": String(Buffer.byteLength(COMMAND)),
      "idempotency-key": "key",
      "x-sync-generation": "1",
      "user-agent": "account-sync/test",
      "accept-encoding": "identity",
    });
  });

  test("an update goes to the customer's own path, its id encoded", async () => {
    const server = await startServer((_, response) => sendJson(response, 200, ANSWER));
    const { api } = startApi();

    await api.send(
      connect(server.url, { updateMethod: "PATCH", updatePath: "/api/customer/{id}" }),
      request({ operation: "update", externalId: "a/b ?$&#ü" }),
    );

    expect(server.requests[0]).toMatchObject({
      method: "PATCH",
      url: "/api/customer/a%2Fb%20%3F%24%26%23%C3%BC",
    });
  });

  test.each(["..", ".", "", null])("an external id of %j is refused, not sent", async (id) => {
    const server = await startServer((_, response) => sendJson(response, 200, ANSWER));
    const { api } = startApi();

    const result = await api.send(
      connect(server.url),
      request({ operation: "update", externalId: id }),
    );

    expect(failureOf(result)).toMatchObject({ errorClass: "rejected", delivery: "not_sent" });
    expect(server.requests).toHaveLength(0);
  });
});

describe("a success", () => {
  test("is a 2xx with the sections of an answer", async () => {
    const server = await startServer((_, response) => sendJson(response, 200, { data: ANSWER }));
    const { api, observed } = startApi();

    const result = await api.send(connect(server.url), request());

    expect(result).toMatchObject({
      kind: "accepted",
      answer: { refusal: null, customer: { items: [{ id: "cus-1" }] } },
    });
    expect(observed).toMatchObject([{ operation: "create", result: "ok" }]);
  });

  test("with a failed section is observed as partial, its words masked", async () => {
    const tier = { data: [], failed: 1, errors: ["Budi Santoso may not have tiers"] };
    const server = await startServer((_, response) => sendJson(response, 200, { ...ANSWER, tier }));
    const { api, observed } = startApi();

    const result = await api.send(connect(server.url), request());

    expect(result).toMatchObject({
      kind: "accepted",
      answer: { tier: { failed: 1, errors: ["[masked] may not have tiers"] } },
    });
    expect(observed).toMatchObject([{ result: "partial" }]);
  });

  test.each([
    ["HTML", "text/html; charset=utf-8", "<html>hello</html>", "text/html, 18 characters"],
    ["other JSON", "application/json", '{"status":"up"}', "application/json, 15 characters"],
    ["half of the JSON", "application/json", '{"customer":{"data":{"id":"c', "28 characters"],
    ["nothing", "application/json", "", "0 characters"],
  ])("with %s for a body is an unknown outcome", async (_, type, body, described) => {
    const server = await startServer((_request, response) => {
      response.writeHead(200, { "content-type": type }).end(body);
    });
    const { api } = startApi();

    const failure = failureOf(await api.send(connect(server.url), request()));

    expect(failure).toMatchObject({ errorClass: "network", delivery: "unknown", httpStatus: 200 });
    expect(failure.message).toContain(described);
  });

  test("gzip we did not ask for is not unfolded", async () => {
    const server = await startServer((_, response) => {
      const body = gzipSync(JSON.stringify(ANSWER));
      response.writeHead(200, { "content-type": "application/json", "content-encoding": "gzip" });
      response.end(body);
    });
    const { api } = startApi();

    const failure = failureOf(await api.send(connect(server.url), request()));

    expect(failure).toMatchObject({ errorClass: "network", delivery: "unknown" });
  });

  test("an update may be answered by 204, a create may not: its id would be lost", async () => {
    const server = await startServer((_, response) => response.writeHead(204).end());
    const { api } = startApi();

    const update = { operation: "update", externalId: "cus-1" } as const;
    const updated = await api.send(connect(server.url), request(update));
    const created = await api.send(connect(server.url), request());

    expect(updated).toMatchObject({ kind: "accepted", httpStatus: 204 });
    expect(failureOf(created).delivery).toBe("unknown");
  });

  test.each([
    ['{"success":true}'],
    ['{"data":{"success":true,"message":"updated"}}'],
    ['{"success":true,"data":null,"error":null,"errors":[]}'],
  ])("an update may be answered by %s, a create may not", async (body) => {
    const server = await startServer((_, response) => response.end(body));
    const { api } = startApi();

    const update = { operation: "update", externalId: "cus-1" } as const;
    const updated = await api.send(connect(server.url), request(update));
    const created = await api.send(connect(server.url), request());

    expect(updated).toMatchObject({ kind: "accepted", httpStatus: 200 });
    expect(failureOf(created)).toMatchObject({ delivery: "unknown" });
  });

  test.each([
    ['{"error":"no customer budi@example.test"}', "server", "no customer [masked]"],
    ['{"success":true,"error":"no customer"}', "server", "no customer"],
    ['{"success":true,"data":{"errors":["no tier"]}}', "server", "no tier"],
    ["{}", "network", "2 characters"],
    ['{"success":"true"}', "network", "18 characters"],
    ['{"data":{"status":"up"}}', "network", "24 characters"],
    ["[]", "network", "2 characters"],
  ])("an update answered by %s is an unknown outcome", async (body, errorClass, said) => {
    const server = await startServer((_, response) => response.end(body));
    const { api } = startApi();

    const update = { operation: "update", externalId: "cus-1" } as const;
    const failure = failureOf(await api.send(connect(server.url), request(update)));

    expect(failure).toMatchObject({
      errorClass,
      delivery: "unknown",
      countsAsAttempt: true,
      httpStatus: 200,
    });
    expect(failure.message).toContain(said);
    expect(failure.message).not.toContain("budi@");
  });

  test.each([200, 202, 204, 404, 410])("a delete is done when the answer is %i", async (status) => {
    const server = await startServer((_, response) => response.writeHead(status).end());
    const { api } = startApi();

    const result = await api.send(
      connect(server.url),
      request({ operation: "delete", externalId: "cus-1", body: null }),
    );

    expect(result).toMatchObject({ kind: "accepted", httpStatus: status });
    expect(server.requests[0]).toMatchObject({ method: "DELETE", body: "" });
    expect(server.requests[0]?.headers).not.toHaveProperty("content-type");
  });

  test("success: false is a refusal, its words masked", async () => {
    const server = await startServer((_, response) =>
      sendJson(response, 200, { success: false, error: "budi@example.test is taken" }),
    );
    const { api, observed } = startApi();

    const failure = failureOf(await api.send(connect(server.url), request()));

    expect(failure).toMatchObject({ errorClass: "rejected", delivery: "not_applied" });
    expect(failure.message).toMatch(/refused: \[masked\] is taken$/);
    expect(observed).toMatchObject([{ result: "rejected" }]);
  });

  test("success: false with the id of a new customer does not lose the id", async () => {
    const server = await startServer((_, response) =>
      sendJson(response, 200, { ...ANSWER, success: false, message: "tiers failed" }),
    );
    const { api } = startApi();

    const result = await api.send(connect(server.url), request());

    expect(result).toMatchObject({
      kind: "accepted",
      answer: { refusal: "tiers failed", customer: { items: [{ id: "cus-1" }] } },
    });
  });
});

describe("a status", () => {
  test.each([
    [400, "rejected", "not_applied", true, "rejected"],
    [401, "unauthorized", "not_applied", false, "unauthorized"],
    [403, "rejected", "not_applied", true, "rejected"],
    [404, "rejected", "not_applied", true, "rejected"],
    [408, "timeout", "unknown", true, "timeout"],
    [409, "rejected", "not_applied", true, "rejected"],
    [419, "unauthorized", "not_applied", false, "unauthorized"],
    [422, "rejected", "not_applied", true, "rejected"],
    [425, "server", "not_applied", true, "server_error"],
    [429, "throttled", "not_applied", false, "throttled"],
    [498, "unauthorized", "not_applied", false, "unauthorized"],
    [500, "server", "unknown", true, "server_error"],
    [502, "server", "unknown", true, "server_error"],
    [503, "server", "not_applied", true, "server_error"],
    [504, "server", "unknown", true, "server_error"],
  ])("%i is %s, %s", async (status, errorClass, delivery, countsAsAttempt, observedAs) => {
    const server = await startServer((_, response) =>
      sendJson(response, status, { error: [{ message: "tier[0] for Budi Santoso is wrong" }] }),
    );
    const { api, observed } = startApi();

    const failure = failureOf(await api.send(connect(server.url), request()));

    expect(failure).toMatchObject({ errorClass, delivery, countsAsAttempt, httpStatus: status });
    expect(failure.message).toContain(
      `create (POST ${server.url}/api/customer/command) answered ${status}: tier[0] for [masked] is wrong`,
    );
    expect(observed).toMatchObject([{ operation: "create", result: observedAs }]);
  });

  test.each([301, 302, 307, 308])(
    "a %i is not followed, and its target is not in the message",
    async (status) => {
      const target = await startServer((_, response) => sendJson(response, 200, ANSWER));
      const server = await startServer((_, response) => {
        response.writeHead(status, { location: `${target.url}/?secret=s3cr3t` }).end();
      });
      const { api } = startApi();

      const failure = failureOf(await api.send(connect(server.url), request()));

      expect(failure).toMatchObject({ errorClass: "rejected", delivery: "not_applied" });
      expect(failure.message).toContain("CUSTOMER_API_URL");
      expect(failure.message).not.toContain("s3cr3t");
      expect(failure.message).not.toContain(target.url);
      expect(target.requests).toHaveLength(0);
    },
  );

  test("counts although its body broke off", async () => {
    const server = await startServer((_, response) => {
      response.writeHead(422, { "content-length": "1000" });
      response.write("{", () => response.destroy());
    });
    const { api } = startApi();

    const failure = failureOf(await api.send(connect(server.url), request()));

    expect(failure).toMatchObject({ errorClass: "rejected", delivery: "not_applied" });
  });

  test("the text of an HTML page is not in the message", async () => {
    const server = await startServer((_, response) => {
      response.writeHead(502, { "content-type": "text/html" }).end("<h1>Bad Gateway</h1>");
    });
    const { api } = startApi();

    const failure = failureOf(await api.send(connect(server.url), request()));

    expect(failure.message).not.toContain("<h1>");
    expect(failure.message).toContain("text/html");
  });
});

describe("a broken connection", () => {
  test("refused: nothing was sent", async () => {
    const server = await startServer(() => undefined);
    await server.close();
    const { api, observed } = startApi();

    const failure = failureOf(await api.send(connect(server.url), request()));

    expect(failure).toMatchObject({
      errorClass: "network",
      delivery: "not_sent",
      countsAsAttempt: true,
      httpStatus: null,
    });
    expect(failure.message).toContain("ECONNREFUSED");
    expect(observed).toMatchObject([{ result: "network" }]);
  });

  test("an unknown host: nothing was sent", async () => {
    const { api } = startApi();

    const failure = failureOf(await api.send(connect("http://api.invalid"), request()));

    expect(failure).toMatchObject({ errorClass: "network", delivery: "not_sent" });
  });

  test("a server that speaks no TLS: nothing was sent", async () => {
    const port = await listenTcp((socket) => socket.end("HTTP/1.1 400 Bad Request\r\n\r\n"));
    const { api } = startApi();

    const failure = failureOf(await api.send(connect(`https://127.0.0.1:${port}`), request()));

    expect(failure).toMatchObject({ errorClass: "network", delivery: "not_sent" });
  });

  test("a header that cannot be sent: nothing was sent, and no account is to blame", async () => {
    const server = await startServer((_, response) => sendJson(response, 200, ANSWER));
    const { api } = startApi();

    const result = await api.send(
      connect(server.url, { headers: { "x-bad": "a\r\nevil: 1" } }),
      request(),
    );

    expect(failureOf(result)).toMatchObject({ errorClass: "network", delivery: "not_sent" });
    expect(server.requests).toHaveLength(0);
  });

  test.each([
    ["closed after the request", (socket: net.Socket) => socket.destroy()],
    ["reset after the request", (socket: net.Socket) => socket.resetAndDestroy()],
    ["answered with no HTTP", (socket: net.Socket) => socket.end("hello\r\n\r\n")],
    [
      "cut off in the body",
      (socket: net.Socket) =>
        socket.end('HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n{"customer":'),
    ],
    [
      "cut off in a chunk",
      (socket: net.Socket) =>
        socket.end('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nff\r\n{"customer":'),
    ],
    [
      "cut off where no header gave the length",
      (socket: net.Socket) =>
        socket.end('HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{"customer":{"data":{"id":"c"'),
    ],
  ])("%s: the outcome is unknown", async (_, react) => {
    const port = await listenTcp((socket) => socket.once("data", () => react(socket)));
    const { api } = startApi();

    const failure = failureOf(await api.send(connect(`http://127.0.0.1:${port}`), request()));

    expect(failure).toMatchObject({ errorClass: "network", delivery: "unknown" });
  });

  test("a stale keep-alive socket: the outcome is unknown, and nothing was repeated", async () => {
    let requests = 0;
    const port = await listenTcp((socket) => {
      socket.on("error", () => undefined);
      socket.on("data", () => {
        requests += 1;
        const body = JSON.stringify(ANSWER);
        // The second request on this socket meets a server that has just gone.
        if (requests === 1) {
          socket.write(`HTTP/1.1 200 OK\r\ncontent-length: ${body.length}\r\n\r\n${body}`);
        } else socket.resetAndDestroy();
      });
    });
    const { api } = startApi();

    const first = await api.send(connect(`http://127.0.0.1:${port}`), request());
    const second = await api.send(connect(`http://127.0.0.1:${port}`), request());

    expect(first.kind).toBe("accepted");
    expect(failureOf(second)).toMatchObject({ errorClass: "network", delivery: "unknown" });
    expect(requests).toBe(2);
  });

  test("an answer without end is broken off at 4 MiB", async () => {
    let written = 0;
    const server = await startServer((_, response) => {
      response.writeHead(200, { "content-type": "application/json" });
      const chunk = Buffer.alloc(64 * 1024, " ");
      const pour = () => {
        while (!response.destroyed) {
          written += chunk.length;
          if (!response.write(chunk)) return response.once("drain", pour);
        }
        return undefined;
      };
      pour();
    });
    const { api } = startApi();

    const failure = failureOf(await api.send(connect(server.url), request()));

    expect(failure).toMatchObject({ errorClass: "network", delivery: "unknown" });
    expect(failure.message).toContain("4 MiB");
    // What the kernel's buffers took on top of the 4 MiB.
    expect(written).toBeLessThan(32 * 1024 * 1024);
  });

  test("ten thousand headers are broken off", async () => {
    const port = await listenTcp((socket) => {
      socket.on("error", () => undefined);
      const headers = Array.from({ length: 10_000 }, (_, i) => `x-${i}: y\r\n`).join("");
      socket.once("data", () => socket.end(`HTTP/1.1 200 OK\r\n${headers}\r\n{}`));
    });
    const { api } = startApi();

    const failure = failureOf(await api.send(connect(`http://127.0.0.1:${port}`), request()));

    expect(failure).toMatchObject({ errorClass: "network", delivery: "unknown" });
  });
});

describe("time", () => {
  test.each([
    ["never answers", () => undefined],
    [
      "stops in the body",
      (response: http.ServerResponse) => {
        response.writeHead(200, { "content-type": "application/json" });
        response.write('{"customer":');
      },
    ],
    [
      "trickles",
      (response: http.ServerResponse) => {
        response.writeHead(200, { "content-type": "application/json" });
        const timer = setInterval(() => response.write(" "), 20);
        response.on("close", () => clearInterval(timer));
      },
    ],
  ])("a server that %s is left after the timeout, outcome unknown", async (_, react) => {
    const server = await startServer((_request, response) => react(response));
    const { api, observed } = startApi({ timeoutMs: 200 });
    const startedAt = performance.now();

    const failure = failureOf(await api.send(connect(server.url), request()));

    expect(failure).toMatchObject({ errorClass: "timeout", delivery: "unknown" });
    expect(performance.now() - startedAt).toBeLessThan(1_500);
    expect(observed).toMatchObject([{ result: "timeout" }]);
    await eventually(() => expect(server.openSockets()).toBe(0));
  });

  test("no connection in time: nothing was sent, and nothing is sent later", async () => {
    // The kernel completes the TCP handshake, but the TLS hello is not answered: no connection for a request.
    const received: Buffer[] = [];
    const port = await listenTcp((socket) => {
      socket.on("error", () => undefined);
      socket.on("data", (data) => received.push(data));
    });
    const { api } = startApi({ timeoutMs: 200 });
    const startedAt = performance.now();

    const failure = failureOf(await api.send(connect(`https://127.0.0.1:${port}`), request()));

    expect(failure).toMatchObject({ errorClass: "timeout", delivery: "not_sent" });
    expect(performance.now() - startedAt).toBeLessThan(1_500);
    expect(Buffer.concat(received).includes("ACC-1")).toBe(false);
  });

  test("a request given up on the way is an unknown outcome and no attempt", async () => {
    const server = await startServer(() => undefined);
    const { api } = startApi();
    const controller = new AbortController();

    const sending = api.send(connect(server.url), request({ signal: controller.signal }));
    await eventually(() => expect(server.requests).toHaveLength(1));
    controller.abort();
    const failure = failureOf(await sending);

    expect(failure).toMatchObject({ delivery: "unknown", countsAsAttempt: false });
    await eventually(() => expect(server.openSockets()).toBe(0));
  });

  test("a request given up before it began is not sent", async () => {
    const server = await startServer((_, response) => sendJson(response, 200, ANSWER));
    const { api } = startApi();

    const result = await api.send(connect(server.url), request({ signal: AbortSignal.abort() }));

    expect(failureOf(result)).toMatchObject({ delivery: "not_sent", countsAsAttempt: false });
    expect(server.requests).toHaveLength(0);
  });

  test("a request that may not begin any more when its connection stands is not written", async () => {
    const server = await startServer((_, response) => sendJson(response, 200, ANSWER));
    const { api } = startApi();
    let asked = 0;

    const result = await api.send(connect(server.url), request({ mayBegin: () => ++asked === 0 }));

    expect(asked).toBe(1);
    expect(failureOf(result)).toMatchObject({ delivery: "not_sent", countsAsAttempt: false });
    expect(server.requests).toHaveLength(0);
  });

  test("a request that was renewed after a refused token asks again whether it may begin", async () => {
    const server = await startTokenApi();
    const { api } = startApi();
    await api.send(server.connection(), request());
    server.accepts = "token-2";
    let asked = 0;

    const result = await api.send(
      server.connection(),
      request({ idempotencyKey: "second", mayBegin: () => ++asked === 1 }),
    );

    expect(failureOf(result)).toMatchObject({ delivery: "not_sent", countsAsAttempt: false });
    expect(asked).toBe(2);
  });

  test("closing the client breaks off what is in flight", async () => {
    const server = await startServer(() => undefined);
    const { api } = startApi();

    const sending = api.send(connect(server.url), request());
    await eventually(() => expect(server.requests).toHaveLength(1));
    await api.close();

    expect(failureOf(await sending)).toMatchObject({ errorClass: "network", delivery: "unknown" });
  });
});

describe("tokens", () => {
  test("fifty sends at once share one token request", async () => {
    const server = await startTokenApi();
    const { api, observed } = startApi();

    const results = await Promise.all(
      Array.from({ length: 50 }, (_, i) =>
        api.send(server.connection(), request({ idempotencyKey: `k${i}` })),
      ),
    );

    expect(results.filter((result) => result.kind === "accepted")).toHaveLength(50);
    expect(server.tokenRequests()).toHaveLength(1);
    expect(observed.filter(({ operation }) => operation === "token")).toMatchObject([
      { result: "ok" },
    ]);
  });

  test("style form is the standard request", async () => {
    const server = await startTokenApi();
    const { api } = startApi();

    await api.send(server.connection({ scope: "customer write" }), request());

    const [token] = server.tokenRequests();
    expect(token?.headers).toMatchObject({
      authorization: `Basic ${Buffer.from("client-1:s3cret-1").toString("base64")}`,
      "content-type": expect.stringContaining("application/x-www-form-urlencoded"),
    });
    expect(Object.fromEntries(new URLSearchParams(token?.body))).toEqual({
      grant_type: "client_credentials",
      scope: "customer write",
    });
  });

  test("style json sends the scope alone", async () => {
    const server = await startTokenApi();
    const { api } = startApi();

    await api.send(server.connection({ style: "json", scope: "customer" }), request());

    expect(server.tokenRequests()[0]?.headers).toMatchObject({
      "content-type": "application/json",
    });
    expect(JSON.parse(server.tokenRequests()[0]?.body ?? "")).toEqual({ scope: "customer" });
  });

  test("a secret with reserved letters is tried as it is, then as RFC 6749 encodes it", async () => {
    const server = await startTokenApi();
    const encoded = `Basic ${Buffer.from("client%2D1:a%2Bb%2Fc%3D").toString("base64")}`;
    server.onToken = (incoming, response) => {
      const accepts = incoming.headers.authorization === encoded;
      if (accepts) sendJson(response, 200, { access_token: "t-1", token_type: "bearer" });
      else sendJson(response, 401, { error: "invalid_client" });
    };
    const { api } = startApi();

    const result = await api.send(server.connection({ clientSecret: "a+b/c=" }), request());

    expect(result.kind).toBe("accepted");
    expect(server.tokenRequests()).toHaveLength(2);
  });

  test.each([
    ["no expires_in", { access_token: "t-1", token_type: "Bearer" }],
    ["expires_in null", { access_token: "t-1", token_type: "Bearer", expires_in: null }],
    ["expires_in as text", { access_token: "t-1", token_type: "bearer", expires_in: "3600" }],
    ["no token_type", { access_token: "t-1", expires_in: 3600 }],
  ])("an answer with %s serves for the sends to come", async (_, answer) => {
    const server = await startTokenApi();
    server.onToken = (_request, response) => sendJson(response, 201, answer);
    const { api } = startApi();

    for (let i = 0; i < 3; i++) await api.send(server.connection(), request());

    expect(server.tokenRequests()).toHaveLength(1);
    expect(server.commands()).toHaveLength(3);
  });

  test("a token is renewed before it expires, and the old one serves while that fails", async () => {
    let now = 0;
    const server = await startTokenApi();
    const { api } = startApi({ now: () => now });

    await api.send(server.connection(), request());
    now = 3_600_000 - 59_000;
    server.onToken = (_request, response) => sendJson(response, 500, {});
    const meanwhile = await api.send(server.connection(), request());
    now = 3_600_000 + 1_000;
    const expired = await api.send(server.connection(), request());

    expect(meanwhile.kind).toBe("accepted");
    expect(server.commands().map(({ headers }) => headers.authorization)).toEqual([
      "Bearer token-1",
      "Bearer token-1",
    ]);
    expect(failureOf(expired)).toMatchObject({ errorClass: "server", delivery: "not_sent" });
  });

  test("401: one new token, and one repeat with the same key and body", async () => {
    const server = await startTokenApi();
    const { api, observed } = startApi();
    await api.send(server.connection(), request());
    server.accepts = "token-2";

    const result = await api.send(server.connection(), request({ idempotencyKey: "key-2" }));

    expect(result.kind).toBe("accepted");
    expect(server.tokenRequests()).toHaveLength(2);
    expect(server.commands().slice(1)).toMatchObject([
      { headers: { authorization: "Bearer token-1", "idempotency-key": "key-2" }, body: COMMAND },
      { headers: { authorization: "Bearer token-2", "idempotency-key": "key-2" }, body: COMMAND },
    ]);
    expect(observed.map(({ operation, result }) => `${operation} ${result}`)).toEqual([
      "token ok",
      "create ok",
      "create unauthorized",
      "token ok",
      "create ok",
    ]);
  });

  test.each([419, 498])("%i counts as 401", async (status) => {
    const server = await startTokenApi();
    const { api } = startApi();
    let refusals = 1;
    server.onCommand = (_request, response) =>
      refusals-- > 0
        ? response.writeHead(status).end("<h1>Page expired</h1>")
        : sendJson(response, 200, ANSWER);

    const result = await api.send(server.connection(), request());

    expect(result.kind).toBe("accepted");
    expect(server.commands()).toMatchObject([
      { headers: { authorization: "Bearer token-1" }, body: COMMAND },
      { headers: { authorization: "Bearer token-2" }, body: COMMAND },
    ]);
  });

  test("a 403 that speaks of the token counts as 401, another 403 does not", async () => {
    const server = await startTokenApi();
    const { api } = startApi();
    let words = "The access token expired";
    let refusals = 1;
    server.onCommand = (_request, response) => {
      if (refusals-- > 0) sendJson(response, 403, { error: { message: words } });
      else sendJson(response, 200, ANSWER);
    };

    const expired = await api.send(server.connection(), request());
    words = "This customer belongs to somebody else";
    refusals = 1;
    const forbidden = await api.send(server.connection(), request());

    expect(expired.kind).toBe("accepted");
    expect(failureOf(forbidden)).toMatchObject({ errorClass: "rejected", httpStatus: 403 });
    expect(server.tokenRequests()).toHaveLength(2);
  });

  test("a bare 403 to a token that is not new is tried once with a new one, and not again for a minute", async () => {
    let now = 0;
    const server = await startTokenApi();
    const { api } = startApi({ now: () => now });
    await api.send(server.connection(), request());
    let refusals = 1;
    server.onCommand = (_request, response) => {
      if (refusals-- > 0) sendJson(response, 403, { message: "Forbidden" });
      else sendJson(response, 200, ANSWER);
    };

    const young = await api.send(server.connection(), request());
    now = 60_000;
    refusals = 1;
    const expired = await api.send(server.connection(), request({ idempotencyKey: "key-2" }));
    refusals = 9;
    const forbidden = await api.send(server.connection(), request());

    expect(failureOf(young)).toMatchObject({ errorClass: "rejected", httpStatus: 403 });
    expect(expired.kind).toBe("accepted");
    expect(failureOf(forbidden)).toMatchObject({ errorClass: "rejected", httpStatus: 403 });
    expect(server.tokenRequests()).toHaveLength(2);
    const repeated = server
      .commands()
      .filter(({ headers }) => headers["idempotency-key"] === "key-2");
    expect(repeated).toMatchObject([
      { headers: { authorization: "Bearer token-1" }, body: COMMAND },
      { headers: { authorization: "Bearer token-2" }, body: COMMAND },
    ]);
  });

  test("many sends refused with one token fetch one new token", async () => {
    const server = await startTokenApi();
    const { api } = startApi();
    await api.send(server.connection(), request());
    server.accepts = "token-2";

    const results = await Promise.all(
      Array.from({ length: 20 }, (_, i) =>
        api.send(server.connection(), request({ idempotencyKey: `k${i}` })),
      ),
    );

    expect(results.filter((result) => result.kind === "accepted")).toHaveLength(20);
    expect(server.tokenRequests()).toHaveLength(2);
  });

  test("401 for ever: nothing more is sent until the probe, and it is said once", async () => {
    let now = 0;
    const server = await startTokenApi();
    server.accepts = "never";
    const { api, circuit } = startApi({ now: () => now });

    const first = await api.send(server.connection(), request());
    const more = await Promise.all(
      Array.from({ length: 20 }, () => api.send(server.connection(), request())),
    );

    expect(failureOf(first)).toMatchObject({
      errorClass: "unauthorized",
      delivery: "not_applied",
      countsAsAttempt: false,
    });
    expect(more.map(failureOf)).toEqual(
      Array.from({ length: 20 }, () =>
        expect.objectContaining({
          errorClass: "unauthorized",
          delivery: "not_sent",
          countsAsAttempt: false,
        }),
      ),
    );
    expect(server.commands()).toHaveLength(2);
    expect(circuit).toEqual([["open", expect.stringContaining("CUSTOMER_API_CLIENT_ID")]]);

    now += api.available();
    server.accepts = null;
    const probe = await api.send(server.connection(), request());

    expect(probe.kind).toBe("accepted");
    expect(circuit.map(([state]) => state)).toEqual(["open", "half_open", "closed"]);
  });

  test("a static token that is refused is not repeated", async () => {
    const server = await startTokenApi();
    server.accepts = "another";
    const { api } = startApi();
    const auth = { kind: "static", token: "my-static-token" } as const;

    const failure = failureOf(await api.send(connect(server.url, { auth }), request()));

    expect(failure).toMatchObject({ errorClass: "unauthorized" });
    expect(server.commands()).toHaveLength(1);
    expect(api.available()).toBeGreaterThan(0);
  });

  test.each([
    ["401 invalid_client", 401, { error: "invalid_client" }, "unauthorized"],
    ["400 invalid_scope", 400, { error: "invalid_scope" }, "unauthorized"],
    ["404", 404, { error: "not found" }, "unauthorized"],
    ["a redirect", 302, {}, "unauthorized"],
    ["200 without a token", 200, { hello: "world" }, "unauthorized"],
    ["429", 429, {}, "throttled"],
    ["500", 500, {}, "server"],
    ["503", 503, {}, "server"],
  ])("a token endpoint that answers %s: the command was not sent", async (_, status, body, as) => {
    const server = await startTokenApi();
    server.onToken = (_request, response) => sendJson(response, status, body);
    const { api, observed } = startApi();

    const failure = failureOf(await api.send(server.connection(), request()));

    expect(failure).toMatchObject({
      errorClass: as,
      delivery: "not_sent",
      countsAsAttempt: false,
      httpStatus: status,
    });
    expect(failure.message).toContain(`${server.url}/oauth/token`);
    expect(failure.message).not.toContain("s3cret-1");
    expect(server.commands()).toHaveLength(0);
    expect(observed).toMatchObject([{ operation: "token", result: observedName(as) }]);
  });

  test.each([
    ["its API", 401, "create (POST "],
    ["its API, in a form that we do not know", 200, "without the sections of an answer"],
    ["its token endpoint", 400, "gave no token (400 invalid_client)"],
  ])("what %s says about one account is not said of all sends", async (from, status, own) => {
    const said = { error: "invalid_client", error_description: "Toko Mawar is not known" };
    const server = await startTokenApi();
    const answer = (_request: unknown, response: http.ServerResponse) => {
      sendJson(response, status, status === 200 ? { error: said.error_description } : said);
    };
    if (from === "its token endpoint") server.onToken = answer;
    else server.onCommand = answer;
    const { api } = startApi();

    // The account's own error keeps the words.
    const sent: ApiFailure[] = [];
    for (let n = 0; n < 5 && api.findObstacle(null) === null; n += 1)
      sent.push(
        failureOf(await api.send(server.connection(), request({ idempotencyKey: `key-${n}` }))),
      );
    const next = failureOf(await api.send(server.connection(), request()));

    const reason = api.findObstacle(null)?.reason;
    expect(reason).toContain(own);
    expect(`${reason} ${next.message}`).not.toMatch(/Mawar/);
    expect(sent[0]?.message).toContain("Mawar");
  });

  test("a token endpoint that hangs is left after the timeout", async () => {
    const server = await startTokenApi();
    server.onToken = () => undefined;
    const { api } = startApi({ timeoutMs: 150 });

    const failure = failureOf(await api.send(server.connection(), request()));

    expect(failure).toMatchObject({ errorClass: "timeout", delivery: "not_sent" });
  });

  test("a send that gives up waiting for a token leaves the request for it to the others", async () => {
    const server = await startTokenApi();
    const held = Promise.withResolvers<void>();
    server.onToken = async (_request, response) => {
      await held.promise;
      sendJson(response, 200, { access_token: "t-1", token_type: "Bearer" });
    };
    const { api } = startApi();
    const controller = new AbortController();

    const impatient = api.send(server.connection(), request({ signal: controller.signal }));
    const patient = api.send(server.connection(), request());
    await eventually(() => expect(server.tokenRequests()).toHaveLength(1));
    controller.abort();
    const given = await impatient;
    held.resolve();

    expect(failureOf(given)).toMatchObject({ delivery: "not_sent", countsAsAttempt: false });
    expect((await patient).kind).toBe("accepted");
    expect(server.tokenRequests()).toHaveLength(1);
  });

  test("secrets quoted by the API are masked", async () => {
    const server = await startTokenApi();
    server.onToken = (_request, response) =>
      sendJson(response, 401, { error: "invalid_client", error_description: "got s3cret-1" });
    const { api } = startApi();

    const failure = failureOf(await api.send(server.connection(), request()));

    expect(failure.message).toContain("invalid_client: got [masked]");
  });
});

describe("the circuit", () => {
  test.each([429, 503])("Retry-After of a %i is obeyed by all", async (status) => {
    let now = 0;
    const server = await startServer((_, response) => {
      if (server.requests.length > 1) return sendJson(response, 200, ANSWER);
      response.setHeader("retry-after", "3");
      return sendJson(response, status, {});
    });
    const { api } = startApi({ now: () => now });

    const first = failureOf(await api.send(connect(server.url), request()));
    const others = await Promise.all(
      Array.from({ length: 10 }, () => api.send(connect(server.url), request())),
    );
    const sentMeanwhile = server.requests.length;
    now += 3_000;
    const later = await api.send(connect(server.url), request());

    expect(first.retryAfterMs).toBe(3_000);
    expect(others.map((other) => failureOf(other).retryAfterMs)).toEqual(Array(10).fill(3_000));
    expect(sentMeanwhile).toBe(1);
    expect(later.kind).toBe("accepted");
  });

  test("a dead API opens the circuit, and the sends after that cost no attempt", async () => {
    const server = await startServer((_, response) => sendJson(response, 500, {}));
    const { api, circuit } = startApi();

    const failures: ApiFailure[] = [];
    for (let i = 0; i < 10; i++) {
      failures.push(
        failureOf(await api.send(connect(server.url), request({ idempotencyKey: `k${i}` }))),
      );
    }

    expect(failures.map(({ countsAsAttempt }) => countsAsAttempt)).toEqual([
      ...Array(5).fill(true),
      ...Array(5).fill(false),
    ]);
    expect(server.requests).toHaveLength(5);
    expect(circuit.map(([state]) => state)).toEqual(["open"]);
    expect(api.available()).toBeGreaterThan(0);
  });
});

interface Received {
  readonly method: string;
  readonly url: string;
  readonly headers: http.IncomingHttpHeaders;
  readonly body: string;
}

async function startServer(
  react: (request: http.IncomingMessage, response: http.ServerResponse) => unknown,
) {
  const requests: Received[] = [];
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
async function startTokenApi() {
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

async function listenTcp(onSocket: (socket: net.Socket) => void): Promise<number> {
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

describe("a lookup", () => {
  test("asks by the number, encoded, with the token and without the create's key", async () => {
    const server = await startServer((_, response) =>
      sendJson(response, 404, { error: "no such customer" }),
    );
    const { api, observed } = startApi();

    const result = await api.lookUp(
      connect(server.url, {
        auth: { kind: "static", token: "token-1" },
        lookupPath: "/api/customer/{account_id}?code={account_no}&exact=true",
      }),
      lookupRequest({ accountNo: " A/1 &?ü{account_id}", accountId: "a b" }),
    );

    expect(result).toEqual({ kind: "answered", httpStatus: 404, found: { kind: "none" } });
    expect(server.requests[0]).toMatchObject({
      method: "GET",
      url: "/api/customer/a%20b?code=A%2F1%20%26%3F%C3%BC%7Baccount_id%7D&exact=true",
      body: "",
      headers: { authorization: "Bearer token-1", "accept-encoding": "identity" },
    });
    expect(server.requests[0]?.headers["idempotency-key"]).toBeUndefined();
    expect(observed).toEqual([{ operation: "lookup", result: "ok" }]);
  });

  test.each(["", " ", ".", ".."])(
    "of an account with the number %j sends no request",
    async (accountNo) => {
      const server = await startServer((_, response) => sendJson(response, 200, []));
      const { api } = startApi();

      const result = await api.lookUp(connect(server.url), lookupRequest({ accountNo }));

      expect(result).toMatchObject({
        kind: "answered",
        httpStatus: null,
        found: { kind: "unclear" },
      });
      expect(server.requests).toEqual([]);
    },
  );

  test.each([
    [500, {}, "server"],
    [503, { "retry-after": "7" }, "server"],
    [429, { "retry-after": "7" }, "throttled"],
    [401, {}, "unauthorized"],
  ])("that is answered with %i has not been answered", async (status, headers, errorClass) => {
    const server = await startServer((_, response) =>
      response.writeHead(status, headers).end("{}"),
    );
    const { api } = startApi();

    const result = await api.lookUp(connect(server.url), lookupRequest());

    expect(result).toMatchObject({ kind: "failed", failure: { errorClass } });
  });

  test.each([
    [400, { error: "unknown parameter code of ACC-1 for Budi Santoso" }],
    [409, { error: "2 customers have this code" }],
    [301, {}],
  ])("that is refused with %i is for a human, without personal data", async (status, body) => {
    const server = await startServer((_, response) => sendJson(response, status, body));
    const { api, observed } = startApi();

    const result = await api.lookUp(connect(server.url), lookupRequest());

    expect(result).toMatchObject({
      kind: "answered",
      httpStatus: status,
      found: { kind: "unclear", reason: expect.stringMatching(/^lookup \(GET http.*customer\)/) },
    });
    expect(JSON.stringify(result)).not.toMatch(/Budi|ACC-1|code=/);
    if (status === 409) expect(JSON.stringify(result)).toContain("2 customers");
    expect(observed).toEqual([{ operation: "lookup", result: "rejected" }]);
  });

  test("whose answer is cut off, endless or a page is asked again later", async () => {
    const answers = ['{"data": [', "<html>maintenance</html>", "x".repeat(5 * 1024 * 1024)];
    const server = await startServer((_, response) => response.end(answers.shift()));
    const { api } = startApi();

    for (let n = 0; n < 3; n += 1) {
      expect(
        await api.lookUp(connect(server.url), lookupRequest({ idempotencyKey: `key-${n}` })),
      ).toMatchObject({ kind: "failed", failure: { errorClass: "network", delivery: "unknown" } });
    }
  });

  test("renews a token that was refused, once", async () => {
    const server = await startServer((seen, response) => {
      if (seen.url === "/oauth/token")
        sendJson(response, 200, { access_token: "t", expires_in: 9 });
      else if (server.requests.filter(({ url }) => url !== "/oauth/token").length === 1)
        sendJson(response, 401, {});
      else sendJson(response, 200, [{ id: "cus-1", code: "ACC-1" }]);
    });
    const { api } = startApi();
    const auth: ApiAuth = {
      kind: "client_credentials",
      tokenUrl: `${server.url}/oauth/token`,
      clientId: "id",
      clientSecret: "client-secret",
      scope: null,
      style: "form",
      defaultExpiresInSeconds: 60,
    };

    const result = await api.lookUp(connect(server.url, { auth }), lookupRequest());

    expect(result).toMatchObject({ kind: "answered", found: { kind: "one" } });
  });

  test("is not asked while the circuit is open, and its failures open it like any other's", async () => {
    const server = await startServer((_, response) => sendJson(response, 503, {}));
    const { api, circuit } = startApi();

    for (let n = 0; n < 8; n += 1)
      await api.lookUp(connect(server.url), lookupRequest({ idempotencyKey: `key-${n}` }));

    expect(server.requests).toHaveLength(5);
    expect(circuit.at(-1)?.[0]).toBe("open");
  });
});

function startApi(options: { timeoutMs?: number; now?: () => number } = {}) {
  const observed: { operation: string; result: string }[] = [];
  const circuit: [state: string, reason: string][] = [];
  const api: CustomerApiClient = createCustomerApi({
    timeoutMs: options.timeoutMs ?? 5_000,
    userAgent: "account-sync/test",
    limits: { backoffMinMs: 1_000, backoffMaxMs: 60_000 },
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

function connect(baseUrl: string, changes: Partial<ApiConnection> = {}): ApiConnection {
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

function request(changes: Partial<ApiRequest> = {}): ApiRequest {
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

function lookupRequest(changes: Partial<LookupRequest> = {}): LookupRequest {
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

function failureOf(result: ApiResult): ApiFailure {
  if (result.kind !== "failed") throw new Error("the request was accepted");
  return result.failure;
}

function observedName(errorClass: string): string {
  return errorClass === "server" ? "server_error" : errorClass;
}

function sendJson(response: http.ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
}
