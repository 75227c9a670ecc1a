/** The client against real servers: what it sends, how it reads answers, and when the circuit opens. */
import { gzipSync } from "node:zlib";
import { describe, expect, test } from "vitest";
import type { ApiFailure } from "../../src/customer-api/customer-api.ts";
import {
  ANSWER,
  COMMAND,
  connect,
  failureOf,
  request,
  sendJson,
  startApi,
  startServer,
} from "../support/customer-api-server.ts";

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

test("F49 an id in an encoding that is not read is refused: two such ids could look the same", async () => {
  const server = await startServer((_, response) =>
    response
      .writeHead(200, { "content-type": "application/json; charset=iso-8859-1" })
      .end(
        Buffer.from(
          '{"customer": {"data": {"id": "caf\u00e9-1"}}, "tier": {"data": [{"id": "t-1"}]}}',
          "latin1",
        ),
      ),
  );
  const { api } = startApi();

  const result = await api.send(connect(server.url), request());

  expect(result).toMatchObject({
    kind: "accepted",
    answer: { customer: { items: [{ id: null }] }, tier: { items: [{ id: "t-1" }] } },
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
    [425, "server", "unknown", true, "server_error"],
    [429, "throttled", "not_applied", false, "throttled"],
    [498, "unauthorized", "not_applied", false, "unauthorized"],
    [500, "server", "unknown", true, "server_error"],
    [502, "server", "unknown", true, "server_error"],
    [503, "server", "unknown", true, "server_error"],
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
