/** Where a command goes and with whose credentials: the environment's stay with the origin they were set for. */
import { describe, expect, test } from "vitest";

import type { ApiAuth, ApiConnection } from "../../src/customer-api/customer-api.ts";
import { type ConnectionSettings, createConnections } from "../../src/sync/connections.ts";

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

/** What is found for the only row there is; null: for no row at all. */
function find(
  settings: Partial<ConnectionSettings>,
  row: Record<string, string | null> | null,
): Promise<ApiConnection | { readonly error: string }> {
  const rows = row === null ? [] : [{ ...EMPTY_ROW, ...row }];
  const db = { run: async <Row>() => rows as Row[] };
  const source = {
    vanished: [],
    missing: [],
    has: () => true,
    hasBranchIds: true,
    isPossibleId: () => true,
  };
  const connections = createConnections(db, source, {
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
  return connections.of(row === null ? null : EMPTY_ROW.id);
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
};
