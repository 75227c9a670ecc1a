/** Tokens from a real endpoint: how they are asked for, kept and renewed, and what a refusal means. */
import type http from "node:http";
import { describe, expect, test } from "vitest";
import type { ApiFailure } from "../../src/customer-api/customer-api.ts";
import {
  ANSWER,
  COMMAND,
  connect,
  failureOf,
  observedName,
  request,
  sendJson,
  startApi,
  startTokenApi,
} from "../support/customer-api-server.ts";
import { eventually } from "../support/eventually.ts";

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
    expect(failure.isAboutSend).toBeUndefined();
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
