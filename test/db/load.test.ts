/** What stands in the tables is what is loaded: to the day, to the cent, whatever the keys are and whichever tables are there. */
import { afterEach, describe, expect, test } from "vitest";
import { loadAccounts } from "../../src/account/load.ts";
import type { Database } from "../../src/db/database.ts";
import { migrate } from "../../src/db/migrate.ts";
import { createEngine } from "../support/engine.ts";
import { createFakeApi } from "../support/fake-api.ts";
import { openOwnDatabase } from "../support/own-database.ts";
import {
  createDatabase as createTestDatabase,
  type TestDatabase,
  type TestDatabaseOptions,
} from "../support/postgres.ts";

const zone = process.env["TZ"];

afterEach(() => {
  if (zone === undefined) delete process.env["TZ"];
  else process.env["TZ"] = zone;
});

async function open(options?: TestDatabaseOptions): Promise<{ test: TestDatabase; db: Database }> {
  const test = await createTestDatabase(options);
  // The attempts are read along with the accounts.
  await migrate({ url: test.url, info: () => {} });
  return { test, db: openOwnDatabase(test.url) };
}

async function load(db: Database, ids: readonly string[]) {
  return await loadAccounts(db, ids);
}

test.each(["Asia/Jakarta", "America/New_York", "UTC"])(
  "dates stay what they are in %s",
  async (timeZone) => {
    process.env["TZ"] = timeZone;
    const { test: database } = await open();
    await database.query(`alter database ${database.name} set timezone = '${timeZone}'`);
    const [account] = await database.query<{ id: string }>(
      "insert into m_account (name) values ('Toko Uji') returning id",
    );
    await database.query(
      "insert into m_account_package_tier (account_id, min_value, max_value, amount, start_date, end_date) values ($1, 0, 1, 1, '2026-01-01', '2026-03-08')",
      [account?.id],
    );
    await database.query(
      "insert into m_account_pic (account_id, name, phone_no, email, created_at) values ($1, 'Budi', '1', '', '2026-03-08 02:30:00.123456')",
      [account?.id],
    );

    const [loaded] = await load(openOwnDatabase(database.url), [account?.id ?? ""]);

    expect(new Date(2026, 0, 1).getTimezoneOffset()).toBe(
      { "Asia/Jakarta": -420, "America/New_York": 300, UTC: 0 }[timeZone],
    );
    expect(loaded?.account?.tiers[0]).toMatchObject({
      startDate: "2026-01-01",
      endDate: "2026-03-08",
    });
    expect(loaded?.account?.pics[0]?.createdAt).toBe("2026-03-08 02:30:00.123456");
  },
);

test("amounts are exact to the last digit a column holds", async () => {
  const { test: database, db } = await open();
  const [account] = await database.query<{ id: string }>(
    "insert into m_account (name) values ('Toko Uji') returning id",
  );
  await database.query(
    "insert into m_account_package_tier (account_id, min_value, max_value, amount, start_date, end_date) values ($1, 0.01, 9999999999999.99, 1000000.10, '2026-01-01', '2026-02-01')",
    [account?.id],
  );

  const [loaded] = await load(db, [account?.id ?? ""]);

  expect(JSON.stringify(loaded?.account?.tiers[0])).toContain(
    '"minValue":0.01,"maxValue":9999999999999.99,"amount":1000000.1',
  );
});

test("everything about an account comes along, and nothing of another one", async () => {
  const { test: database, db } = await open();
  await database.query(`
    with type as (insert into m_account_type (name) values ('child') returning id),
    parent as (insert into m_account (name, uuid_be) values ('Parent', 'ext-parent') returning id),
    account as (
      insert into m_account (name, account_type_id, "parentId", uuid_be)
      select 'Child', type.id, parent.id, 'ext-child' from type, parent returning id
    ),
    method as (insert into m_account_billing_method (method) values ('Auto Deduct') returning id),
    bank as (insert into m_bank (name, uuid_be) values ('Bank', 'ext-bank') returning id),
    tier as (
      insert into m_account_package_tier (account_id, billing_method_id, min_value, max_value, amount, start_date, end_date, percentage, is_active)
      select account.id, method.id, 0, 1, 1, '2026-01-01', '2026-02-01', true, null from account, method
    ),
    pic as (insert into m_account_pic (account_id, name, phone_no, email, password) select id, 'Budi', '1', '', 'hunter2' from account),
    address as (insert into m_account_address (account_id, city) select id, 'Bandung' from account)
    insert into m_account_bank (account_id, bank_id, bank_account_no) select account.id, bank.id, '42' from account, bank`);
  const rows = await database.query<{ id: string }>("select id from m_account order by name");
  const [child, parent] = rows.map((row) => row.id);

  const loaded = await load(db, [parent ?? "", child ?? ""]);

  expect(loaded[0]?.account).toMatchObject({ name: "Parent", parent: null, tiers: [], pics: [] });
  expect(loaded[1]?.account).toMatchObject({
    name: "Child",
    typeName: "child",
    parent: { id: parent, externalId: "ext-parent" },
    tiers: [{ billingMethod: "Auto Deduct", percentage: true, isActive: true }],
    pics: [{ name: "Budi" }],
    addresses: [{ city: "Bandung" }],
    bankAccounts: [{ bankExternalId: "ext-bank", accountNumber: "42" }],
  });
  expect(JSON.stringify(loaded)).not.toContain("hunter2");
});

test("an id that no key could hold is no account, alone or in a batch", async () => {
  const { test: database, db } = await open();
  const rows = await database.query<{ id: string }>(
    "insert into m_account (name) select 'Toko ' || n from generate_series(1, 5) n returning id",
  );
  const ids = rows.map((row) => row.id);

  const loaded = await load(db, [...ids.slice(0, 2), "no uuid", ...ids.slice(2), "", "0"]);

  expect(loaded.map(({ account }) => account?.id ?? null)).toEqual([
    ...ids.slice(0, 2),
    null,
    ...ids.slice(2),
    null,
    null,
  ]);
});

describe.each(["bigint", "text"] as const)("with %s keys", (keyType) => {
  test("accounts are synced like any other", async () => {
    const engine = await createEngine({ database: { keyType } });
    const api = createFakeApi();
    const id = keyType === "bigint" ? "9007199254740993" : "toko/1 'a' \"b\" {c}";
    await engine.query("insert into m_account (id, name) values ($1, 'Toko Uji')", [id]);
    await engine.query(
      "insert into m_account_package_tier (account_id, min_value, max_value, amount, start_date, end_date) values ($1, 0, 1, 1, '2026-01-01', '2026-02-01')",
      [id],
    );

    const outcomes = await engine.round(api);

    expect(outcomes).toMatchObject({ [id]: { name: "synced", updated: { account: 1, tier: 1 } } });
    expect(await engine.ids(id)).toMatchObject({
      account: "ext-customer-1",
      tiers: [expect.any(String)],
    });
  });
});

test("a bigint too large to be a key is no account", async () => {
  const { db } = await open({ keyType: "bigint" });

  const [loaded] = await load(db, ["99999999999999999999"]);

  expect(loaded?.account).toBeNull();
});

test("optional tables and newer columns may be missing, all at once", async () => {
  const engine = await createEngine({
    database: {
      withoutNewerColumns: true,
      leaveOut: [
        "m_account_type",
        "m_bank",
        "m_account_billing_method",
        "m_account_address",
        "m_account_bank",
        "m_backend_ext_config",
      ],
    },
  });
  const { id } = await engine.insertAccount({ tiers: 1, pics: 1 });
  await engine.query("update m_account set account_type_id = gen_random_uuid()");
  await engine.query("update m_account_package_tier set billing_method_id = gen_random_uuid()");

  const outcomes = await engine.round(createFakeApi());

  expect(outcomes[id]).toMatchObject({ name: "synced", updated: { account: 1, tier: 1, pic: 1 } });
});

test("a table that comes while we run is read from then on", async () => {
  const { test, db } = await open({ leaveOut: ["m_account_address"] });
  const [row] = await test.query<{ id: string }>(
    "insert into m_account (name) values ('Toko') returning id",
  );
  const id = row?.id ?? "";
  await load(db, [id]);

  await test.query(
    "create table m_account_address (id uuid default gen_random_uuid(), account_id uuid, address1 text, address2 text, sub_district text, district text, city text, province text, country text, postalcode text, is_primary bool, is_active bool, created_at timestamp)",
  );
  await test.query("insert into m_account_address (account_id, city) values ($1, 'Bogor')", [id]);
  const [loaded] = await load(db, [id]);

  expect(loaded?.account?.addresses).toMatchObject([{ city: "Bogor" }]);
});

test("nothing is loaded while a captured table is away, so that its rows do not look removed", async () => {
  const { test, db } = await open();
  const [row] = await test.query<{ id: string }>(
    "insert into m_account (name) values ('Toko') returning id",
  );
  const id = row?.id ?? "";

  await test.query("alter table m_account_address rename to moved_away");
  await expect(load(db, [id])).rejects.toThrow("public.m_account_address was captured and is gone");

  await test.query("alter table moved_away rename to m_account_address");
  expect((await load(db, [id]))[0]?.account?.name).toBe("Toko");
});

test("a captured table that was removed for good is left out once its capture is removed", async () => {
  const { test, db } = await open();
  const [row] = await test.query<{ id: string }>(
    "insert into m_account (name) values ('Toko') returning id",
  );
  const id = row?.id ?? "";

  await test.query("drop table m_account_address");
  await test.query("select account_sync.remove_capture('m_account_address')");

  expect((await load(db, [id]))[0]?.account?.addresses).toEqual([]);
});
