/** Where a command goes and with whose credentials: the environment's stay with the origin they were set for. */
import { afterEach, describe, expect, test, vi } from "vitest";
import { createConnections } from "../../src/customer-api/connections.ts";
import type { ApiAuth, ApiConnection } from "../../src/customer-api/customer-api.ts";
import type { ConnectionSettings } from "../../src/customer-api/environment-connection.ts";

const OURS = "https://api.example";
const OTHER = "https://other.example";

const CLIENT: ApiAuth = {
  kind: "client_credentials",
  tokenUrl: "",
  clientId: "our-client",
  clientSecret: "our-secret",
  scope: null,
  style: "form",
  defaultExpiresInSeconds: 3600,
};
const ROWS_CLIENT = { clientId: "rows-client", clientSecret: "rows-secret" };

describe("the token URL", () => {
  test.each([
    ["the row's", { tokenUrl: `${OURS}/row` }, `${OURS}/env`, `${OURS}/row`],
    ["the environment's", { tokenUrl: null }, `${OURS}/env`, `${OURS}/env`],
    ["the usual place", { tokenUrl: null }, "", `${OURS}/v1/oauth/token`],
    ["the usual place, as empty says nothing", { tokenUrl: "" }, "", `${OURS}/v1/oauth/token`],
    [
      "the row's for its client too",
      { ...ROWS_CLIENT, tokenUrl: `${OURS}/row` },
      "",
      `${OURS}/row`,
    ],
    ["the environment's for the row's client too", ROWS_CLIENT, `${OURS}/env`, `${OURS}/env`],
  ])("of a row is %s", async (_, row, tokenUrl, expected) => {
    const found = await find({ auth: { ...CLIENT, tokenUrl } }, { baseUrl: `${OURS}/v1/`, ...row });

    expect(found).toMatchObject({ auth: { kind: "client_credentials", tokenUrl: expected } });
  });

  test.each([
    ["", `${OURS}/oauth/token`],
    [`${OTHER}/token`, `${OTHER}/token`],
  ])("of the environment, set to %j, is %s", async (tokenUrl, expected) => {
    const found = await find({ url: OURS, auth: { ...CLIENT, tokenUrl } }, null);

    expect(found).toMatchObject({ configId: null, auth: { tokenUrl: expected } });
  });
});

describe("the environment's credentials", () => {
  const headers = { "x-api-key": "our-key" };

  test.each<[string, ApiAuth]>([
    ["static token", { kind: "static", token: "our-token" }],
    ["client credentials", { ...CLIENT, tokenUrl: `${OURS}/oauth/token` }],
  ])("%s and headers do not go to a row of another origin", async (_, auth) => {
    const found = await find({ url: OURS, auth, headers }, { baseUrl: OTHER });

    expect(found).toMatchObject({ baseUrl: OTHER, auth: { kind: "none" }, headers: {} });
    expect(JSON.stringify(found)).not.toContain("our-");
  });

  test("leave a row of another origin its own", async () => {
    const auth = { ...CLIENT, tokenUrl: `${OURS}/env` };
    const row = { baseUrl: OTHER, ...ROWS_CLIENT, additionalHeaders: '{"x-tenant": "t-1"}' };

    const found = await find({ url: OURS, auth, headers }, row);

    expect(found).toMatchObject({
      auth: { clientId: "rows-client", tokenUrl: `${OTHER}/oauth/token` },
      headers: { "x-tenant": "t-1" },
    });
    expect(JSON.stringify(found)).not.toMatch(/our-|env/);
  });

  test.each([
    ["of the same origin", OURS],
    ["when CUSTOMER_API_URL is not set", null],
  ])("go to a row %s", async (_, url) => {
    const auth = { kind: "static", token: "our-token" } as const;

    const found = await find({ url, auth, headers }, { baseUrl: `${OURS}/v2` });

    expect(found).toMatchObject({ baseUrl: `${OURS}/v2`, auth, headers });
  });

  test("do not go to a row's token URL elsewhere either", async () => {
    const row = { baseUrl: OURS, tokenUrl: `${OTHER}/token` };

    const found = await find({ url: OURS, auth: CLIENT }, row);

    expect(found).toMatchObject({ auth: { tokenUrl: `${OURS}/oauth/token` } });
  });
});

describe("the request that creates", () => {
  test.each([
    [null, "/api/customer/command"],
    ["", "/api/customer/command"],
    ["/v2/customers", "/v2/customers"],
    ["/v2/customers/", "/v2/customers"],
    ["v2/customers", "/v2/customers"],
    // Put behind the base URL as they are, these would be hosts of their own.
    ["@elsewhere.example/x", "/@elsewhere.example/x"],
    [".elsewhere.example/x", "/.elsewhere.example/x"],
    [":8443/x", "/:8443/x"],
  ])("with url %j goes to %s, and updates below it", async (path, expected) => {
    const found = await find({}, { baseUrl: OURS, path });

    expect(found).toMatchObject({ createPath: expected, updatePath: `${expected}/{id}` });
    if ("error" in found) throw new Error(found.error);
    expect(new URL(found.baseUrl + found.createPath).origin).toBe(OURS);
  });

  test.each(["https://elsewhere.example/x", "file:/etc", "/a path"])(
    "with url %j is none",
    async (path) => {
      const found = await find({}, { baseUrl: OURS, path });

      expect(found).toEqual({ error: expect.stringContaining("is not a path") });
    },
  );

  test.each([
    [null, "POST"],
    ["", "POST"],
    ["post", "POST"],
    [" Put ", "PUT"],
    ["PATCH", "PATCH"],
  ])("has the row's method: %j is %s", async (method, expected) => {
    expect(await find({}, { baseUrl: OURS, method })).toMatchObject({
      createMethod: expected,
      updateMethod: "PUT",
    });
  });

  test.each(["GET", "DELETE", "POST, PUT"])("with method %j is none", async (method) => {
    const found = await find({}, { baseUrl: OURS, method });

    expect(found).toEqual({ error: expect.stringContaining("leave it empty, or write POST") });
  });

  test("goes where CUSTOMER_API_PATH says, whatever the row does", async () => {
    const settings = { createPath: "/ours", updatePath: "/ours/{id}/change" };

    expect(await find(settings, { baseUrl: OURS, path: "/rows" })).toMatchObject({
      createPath: "/ours",
      updatePath: "/ours/{id}/change",
    });
  });
});

describe("the life of a row's token, where the token answer does not say it,", () => {
  test.each([
    [600, 600],
    [null, 3600],
    [0, 3600],
    [-1, 3600],
  ])("is token_expires_in: %j makes %d seconds", async (tokenExpiresIn, seconds) => {
    const found = await find({}, { baseUrl: OURS, ...ROWS_CLIENT, tokenExpiresIn });

    expect(found).toMatchObject({ auth: { defaultExpiresInSeconds: seconds } });
  });
});

describe("a row's extra headers", () => {
  test.each([
    [null, {}],
    ["", {}],
    ["null", {}],
    ['{"x-tenant": "t-1"}', { "x-tenant": "t-1" }],
  ])("%j are %j", async (additionalHeaders, headers) => {
    expect(await find({}, { baseUrl: OURS, additionalHeaders })).toMatchObject({ headers });
  });

  test.each(['["a"]', '{"x-tenant": 7}', '{"x-tenant"', "x-tenant: t-1"])(
    "%j are a clear error",
    async (additionalHeaders) => {
      const found = await find({}, { baseUrl: OURS, additionalHeaders });

      expect(found).toEqual({ error: expect.stringContaining("is not a map of strings") });
    },
  );
});

describe("customers' data go", () => {
  const TOKEN_ELSEWHERE = { baseUrl: OURS, ...ROWS_CLIENT, tokenUrl: `${OTHER}/token` };

  test.each<[string, Partial<ConnectionSettings>, Row, RegExp | null]>([
    ["over https anywhere", {}, { baseUrl: OTHER }, null],
    ["over http to this machine", {}, { baseUrl: "http://127.0.0.1:9" }, null],
    ["over http to localhost", {}, { baseUrl: "http://localhost:9" }, null],
    ["over http to [::1]", {}, { baseUrl: "http://[::1]:9" }, null],
    ["over http nowhere else", {}, { baseUrl: "http://10.0.0.1" }, /over http/],
    [
      "over http to a name that only looks like this machine",
      {},
      { baseUrl: "http://127.0.0.1.elsewhere.example" },
      /over http/,
    ],
    ["over http where that is allowed", { insecure: true }, { baseUrl: "http://10.0.0.1" }, null],
    [
      "over https while the secret would not",
      {},
      { ...TOKEN_ELSEWHERE, tokenUrl: "http://other.example/token" },
      /over http/,
    ],
    ["to a listed origin", { allowedOrigins: [OURS] }, { baseUrl: `${OURS}/v1` }, null],
    ["to no other", { allowedOrigins: [OURS] }, { baseUrl: OTHER }, /does not list/],
    ["to no other port", { allowedOrigins: [OURS] }, { baseUrl: `${OURS}:8443` }, /does not list/],
    ["with the secret to no other", { allowedOrigins: [OURS] }, TOKEN_ELSEWHERE, /does not list/],
    ["with it to a listed one", { allowedOrigins: [OURS, OTHER] }, TOKEN_ELSEWHERE, null],
    ["nowhere without a base_url", {}, { baseUrl: null }, /has no base_url/],
    ["nowhere where base_url is none", {}, { baseUrl: "the API" }, /has an invalid URL/],
    ["nowhere but to the web", {}, { baseUrl: "ftp://api.example" }, /only https/],
  ])("%s", async (_, settings, row, refusal) => {
    const found = await find(settings, row);

    if (refusal === null) expect(found).toHaveProperty("baseUrl", row["baseUrl"]);
    else expect(found).toEqual({ error: expect.stringMatching(refusal) });
  });
});

describe("a default configuration that cannot be used", () => {
  afterEach(() => {
    vi.useRealTimers();
  });

  test("stops the sending from the first account that finds it so until one finds it usable", async () => {
    vi.useFakeTimers({ toFake: ["performance"] });
    const rows: Row[] = [{ ...EMPTY_ROW, baseUrl: null }];
    const connections = connectionsOn({}, rows);
    const before = connections.findObstacle();
    const unknown = connections.lastDefault();

    const foundAt = performance.now();
    await connections.of(null);
    const stopped = connections.findObstacle();
    rows[0] = { ...EMPTY_ROW, baseUrl: OURS };
    vi.advanceTimersByTime(5_000);
    await connections.of(null);

    expect(before).toBeNull();
    expect(stopped).toEqual({
      by: "configuration",
      reason: expect.stringContaining("has no base_url"),
      sinceMs: foundAt,
      untilMs: foundAt + 5_000,
    });
    expect(connections.findObstacle()).toBeNull();
    expect(await connections.defaultBaseUrl()).toBe(OURS);
    expect([unknown, connections.lastDefault()]).toMatchObject([null, { configId: EMPTY_ROW.id }]);
  });

  test("is found usable again by accounts that ask for it by its id, as those do that have their id from it", async () => {
    vi.useFakeTimers({ toFake: ["performance"] });
    const rows: Row[] = [{ ...EMPTY_ROW, baseUrl: OURS }];
    const connections = connectionsOn({}, rows);
    await connections.of(null);

    rows[0] = { ...EMPTY_ROW, baseUrl: null };
    vi.advanceTimersByTime(5_000);
    await connections.of(null);
    const stopped = [connections.findObstacle()?.by, connections.usefulSends()];
    rows[0] = { ...EMPTY_ROW, baseUrl: OURS };
    vi.advanceTimersByTime(5_000);
    await connections.of(EMPTY_ROW.id);

    expect(stopped).toEqual(["configuration", 1]);
    expect([connections.findObstacle(), connections.usefulSends()]).toEqual([null, Infinity]);
  });

  test("is no stop any more when it is not tried for a minute after its time, and asking for its URL is no try", async () => {
    vi.useFakeTimers({ toFake: ["performance"] });
    const connections = connectionsOn({}, [{ ...EMPTY_ROW, baseUrl: null }]);

    await connections.of(null);
    vi.advanceTimersByTime(65_000);
    const before = connections.findObstacle();
    vi.advanceTimersByTime(1);
    const url = await connections.defaultBaseUrl();

    expect(before).not.toBeNull();
    expect([connections.findObstacle(), url]).toEqual([null, null]);
  });
});

describe("a connection is worked out once", () => {
  afterEach(() => {
    vi.useRealTimers();
  });

  test("for the environment", async () => {
    const connections = connectionsOn({ url: OURS }, []);

    expect(await connections.of(null)).toBe(await connections.of(null));
  });

  test("for each reading of a row: an edit is another one", async () => {
    vi.useFakeTimers({ toFake: ["performance"] });
    const rows: Row[] = [{ ...EMPTY_ROW, baseUrl: OURS }];
    const connections = connectionsOn({}, rows);

    const first = await connections.of(null);
    rows[0] = { ...EMPTY_ROW, baseUrl: OTHER };
    const again = await connections.of(null);
    vi.advanceTimersByTime(5_000);

    expect(again).toBe(first);
    expect(await connections.of(null)).toMatchObject({ baseUrl: OTHER });
  });
});

describe("where customers are sent by default is not known, and that is no error", () => {
  test.each<[string, () => Promise<readonly Row[]>]>([
    ["when the rows cannot be read", () => Promise.reject(new Error("permission denied"))],
    ["when a row does not parse", async () => [{ ...EMPTY_ROW, baseUrl: 7 }]],
    ["when there is no row", async () => []],
  ])("%s", async (_, readRows) => {
    const connections = connectionsOn({}, readRows);

    expect(await connections.defaultBaseUrl()).toBeNull();
  });
});

type Row = Readonly<Record<string, string | number | boolean | null>>;

/** What is found for the only row there is; null: for no row at all. */
function find(
  settings: Partial<ConnectionSettings>,
  row: Row | null,
): Promise<ApiConnection | { readonly error: string }> {
  const connections = connectionsOn(settings, row === null ? [] : [{ ...EMPTY_ROW, ...row }]);
  return connections.of(row === null ? null : EMPTY_ROW.id);
}

function connectionsOn(
  settings: Partial<ConnectionSettings>,
  rows: readonly Row[] | (() => Promise<readonly Row[]>),
) {
  const readRows = async () => (typeof rows === "function" ? await rows() : rows);
  return createConnections(readRows, {
    url: null,
    configId: null,
    createPath: null,
    updateMethod: "PUT",
    updatePath: null,
    lookupPath: null,
    auth: { kind: "none" },
    headers: {},
    tokenStyle: "form",
    allowedOrigins: null,
    insecure: false,
    ...settings,
  });
}

const EMPTY_ROW = {
  id: "c1",
  name: "customer",
  baseUrl: null,
  tokenUrl: null,
  clientId: null,
  clientSecret: null,
  defaultScope: null,
  tokenExpiresIn: null,
  additionalHeaders: null,
  method: null,
  path: null,
  isActive: true,
};
