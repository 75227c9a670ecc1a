/** Lookups against a real server: what is asked, and how the answer is read. */
import { describe, expect, test } from "vitest";
import type { ApiAuth } from "../../src/customer-api/customer-api.ts";
import {
  connect,
  lookupRequest,
  sendJson,
  startApi,
  startServer,
} from "../support/customer-api-server.ts";

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
