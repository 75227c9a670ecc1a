/** Rows of m_backend_ext_config in a database: which one is taken, and how all of them are listed. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { apiConfigReader, describeSource } from "../../src/account/source.ts";
import { createConnections } from "../../src/customer-api/connections.ts";
import type { ConnectionSettings } from "../../src/customer-api/environment-connection.ts";
import { createDatabase, type Database } from "../../src/db/database.ts";
import { migrate } from "../../src/db/migrate.ts";
import {
  createDatabase as createTestDatabase,
  type TestDatabase,
  type TestDatabaseOptions,
} from "../support/postgres.ts";

const NOTHING: ConnectionSettings = {
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
};

let database: TestDatabase;
let db: Database;

beforeAll(async () => {
  ({ database, db } = await open());
});

beforeEach(async () => {
  await database.query("truncate m_backend_ext_config");
});

const opened: Database[] = [];

afterAll(async () => {
  for (const each of opened) await each.close();
});

async function open(options: TestDatabaseOptions = {}) {
  const own = await createTestDatabase(options);
  await migrate({ url: own.url, info: () => {} });
  const connected = createDatabase({
    url: own.url,
    applicationName: "account-sync test",
    max: 2,
    synchronousCommit: "off",
    settingsPerTransaction: false,
    onError: () => {},
  });
  opened.push(connected);
  return { database: own, db: connected };
}

async function connect(settings: Partial<ConnectionSettings> = {}, on = db) {
  return createConnections(apiConfigReader(on, await describeSource(on)), {
    ...NOTHING,
    ...settings,
  });
}

interface Row {
  readonly name?: string;
  readonly url?: string | null;
  readonly active?: boolean | null;
  readonly age?: number | null;
  readonly baseUrl?: string;
  readonly secret?: string;
}

async function insert({
  name = "Billing",
  url = null,
  active = true,
  age = 0,
  baseUrl = "https://api.example",
  secret = "s3cret",
}: Row): Promise<string> {
  const [row] = await database.query<{ id: string }>(
    `insert into m_backend_ext_config (name, url, is_active, created_at, base_url, client_id, client_secret)
     values ($1, $2, $3, timestamp '2026-06-01' - $4::int * interval '1 day', $5, 'client', $6) returning id::text`,
    [name, url, active, age, baseUrl, secret],
  );
  if (row === undefined) throw new Error("the row was not inserted");
  return row.id;
}

describe("with no id, the configuration is", () => {
  test.each<[string, readonly Row[], number | null]>([
    [
      "the newest of several that fit",
      [
        { name: "Customer old", age: 9 },
        { name: "Customer new", age: 1 },
      ],
      1,
    ],
    ["one that says customer in capitals", [{ name: "SAP CUSTOMER" }], 0],
    ["one whose name has it in the middle", [{ name: "The-Customers-API" }], 0],
    ["one by its url alone", [{ url: "/v2/customer/command" }], 0],
    ["an older one where the newer is for something else", [{ name: "Customer", age: 9 }, {}], 0],
    [
      "the newest, by name or by url alike",
      [
        { name: "Customer", age: 9 },
        { url: "/api/customer/command", age: 1 },
      ],
      1,
    ],
    [
      "an older one where the newer is switched off",
      [
        { name: "Customer", age: 9 },
        { name: "Customer", active: false },
      ],
      0,
    ],
    [
      "one of no age before none at all, and after any",
      [
        { name: "Customer undated", age: null },
        { name: "Customer", age: 9 },
      ],
      1,
    ],
    ["one that nobody switched on or off", [{ name: "Customer", active: null }], 0],
    ["none where none fits", [{}, { url: "/api/invoice/command" }], null],
    ["none where the one that fits is switched off", [{ name: "Customer", active: false }], null],
    ["none where there is no row", [], null],
  ])("%s", async (_, rows, expected) => {
    const ids: string[] = [];
    for (const row of rows) ids.push(await insert(row));
    const connections = await connect();

    const found = await connections.of(null);

    if (expected === null)
      expect(found).toEqual({ error: expect.stringContaining("add one, or set CUSTOMER_API_URL") });
    else expect(found).toMatchObject({ configId: ids[expected] });
    const listed = await connections.list();
    expect(listed.filter(({ isDefault }) => isDefault).map(({ id }) => id)).toEqual(
      expected === null ? [] : [ids[expected]],
    );
  });
});

describe("by its id", () => {
  test("any active row is found, whatever it is called and however the id is written", async () => {
    await insert({ name: "Customer" });
    const id = await insert({ name: "Billing", baseUrl: "https://billing.example" });

    const found = await (await connect()).of(id.toUpperCase());

    expect(found).toMatchObject({ configId: id, baseUrl: "https://billing.example" });
  });

  test("CUSTOMER_API_CONFIG_ID comes before the rule, and a request's own before that", async () => {
    await insert({ name: "Customer" });
    const configured = await insert({ name: "Configured", age: 5 });
    const asked = await insert({ name: "Asked", age: 6 });
    const connections = await connect({ configId: configured });

    expect(await connections.of(null)).toMatchObject({ configId: configured });
    expect(await connections.of(asked)).toMatchObject({ configId: asked });
  });

  test.each(["no such row", "not a uuid"])("%s is a clear error, never another row", async (id) => {
    await insert({ name: "Customer" });

    expect(await (await connect()).of(id)).toEqual({
      error: `m_backend_ext_config has no active row with id ${id}`,
    });
  });

  test("a row that is switched off is not used either", async () => {
    const id = await insert({ name: "Customer", active: false });

    expect(await (await connect()).of(id)).toEqual({
      error: `m_backend_ext_config has no active row with id ${id}`,
    });
  });
});

describe("the list", () => {
  test("names what there is, what is taken by default, and why one cannot be used", async () => {
    const off = await insert({ name: "Old", active: false, age: 8 });
    const plain = await insert({ name: "Plain", baseUrl: "http://other.example/v1/", age: 7 });
    const good = await insert({ name: "Customer", baseUrl: "https://api.example/v2/", age: 6 });

    const listed = await (await connect({ url: null })).list();

    expect(listed).toEqual([
      {
        id: good,
        name: "Customer",
        baseUrl: "https://api.example/v2",
        isActive: true,
        isDefault: true,
        isUsable: true,
        reason: null,
      },
      {
        id: plain,
        name: "Plain",
        baseUrl: "http://other.example/v1",
        isActive: true,
        isDefault: false,
        isUsable: false,
        reason: expect.stringContaining("over http"),
      },
      {
        id: off,
        name: "Old",
        baseUrl: "https://api.example",
        isActive: false,
        isDefault: false,
        isUsable: false,
        reason: "It is not active",
      },
    ]);
  });

  test("holds no secret, wherever one was put", async () => {
    await insert({
      name: "Customer",
      baseUrl: "https://user:canary-1@api.example/v1?key=canary-2#canary-3",
      secret: "canary-4",
    });
    await database.query(
      `update m_backend_ext_config set additional_headers = '{"x-key": "canary-5"}', token_url = 'https://api.example/t?k=canary-6'`,
    );
    const connections = await connect({
      url: "https://me:canary-7@api.example",
      auth: { kind: "static", token: "canary-8" },
      headers: { "x-key": "canary-9" },
    });

    const listed = await connections.list();

    expect(listed).toHaveLength(2);
    expect(JSON.stringify(listed)).not.toContain("canary");
  });

  test("begins with CUSTOMER_API_URL, which is the default where it is set", async () => {
    const id = await insert({ name: "Customer" });

    const listed = await (await connect({ url: "https://env.example" })).list();

    expect(listed).toMatchObject([
      { id: null, name: "CUSTOMER_API_URL", baseUrl: "https://env.example", isDefault: true },
      { id, isDefault: false },
    ]);
  });

  test("shows a row at once, also when another one was read a moment ago", async () => {
    const connections = await connect();
    await connections.of(null);

    const id = await insert({ name: "Customer" });

    expect(await connections.list()).toMatchObject([{ id }]);
  });
});

describe("a database that lacks", () => {
  test("the table says so, and what to set; CUSTOMER_API_URL needs none", async () => {
    const without = await open({ leaveOut: ["m_backend_ext_config"] });

    const connections = await connect({}, without.db);

    expect(await connections.of(null)).toEqual({
      error: "There is no table m_backend_ext_config in this database: set CUSTOMER_API_URL",
    });
    expect(await connections.list()).toEqual([]);
    const byEnvironment = await connect({ url: "https://env.example" }, without.db);
    expect(await byEnvironment.of(null)).toMatchObject({ baseUrl: "https://env.example" });
  });

  test("every column but id and base_url finds its row by id, with the usual values", async () => {
    const lean = await open();
    await lean.database.query(
      `alter table m_backend_ext_config
         drop name, drop token_url, drop client_id, drop client_secret, drop default_scope, drop is_active,
         drop token_expires_in, drop additional_headers, drop method, drop url, drop created_at`,
    );
    const [row] = await lean.database.query<{ id: string }>(
      "insert into m_backend_ext_config (base_url) values ('https://api.example') returning id::text",
    );
    const id = row?.id ?? "";

    const connections = await connect({}, lean.db);

    expect(await connections.of(id)).toMatchObject({
      configId: id,
      createMethod: "POST",
      createPath: "/api/customer/command",
      updatePath: "/api/customer/command/{id}",
      auth: { kind: "none" },
      headers: {},
    });
    expect(await connections.list()).toMatchObject([{ id, name: null, isUsable: true }]);
  });
});
