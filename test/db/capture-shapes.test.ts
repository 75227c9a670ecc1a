/** Change capture where the source tables have another shape: partitions, other keys, tables and columns that are missing or come later. */
import { describe, expect, test } from "vitest";
import { migrate } from "../../src/db/migrate.ts";
import { openQueue } from "../support/captured-tables.ts";
import {
  createDatabase,
  type TestDatabase,
  type TestDatabaseOptions,
  withClient,
} from "../support/postgres.ts";

describe("a partitioned tier table", () => {
  test("rows written through the table and at a partition are captured", async () => {
    const { database, account } = await createPartitioned();

    await database.query(
      `insert into m_account_package_tier ${tiers(account, "2026-01-01", "2027-01-01")}`,
    );
    expect(await takeAccounts(database)).toEqual([account]);

    await database.query(
      `insert into tier_2026 ${tiers(account, "2026-02-01")}; update tier_2026 set amount = 7`,
    );
    expect(await takeAccounts(database)).toEqual([account]);

    await database.query("delete from tier_2027");
    expect(await takeAccounts(database)).toEqual([account]);
  });

  test("a save with the same data and our write-back are no change", async () => {
    const { database, account } = await createPartitioned();
    await database.query(`insert into m_account_package_tier ${tiers(account, "2026-01-01")}`);
    await takeAccounts(database);

    await database.query("update m_account_package_tier set amount = amount, updated_at = now()");
    await database.query("update tier_2026 set uuid_be = 'ext', updated_by = 'account-sync'");

    expect(await takeAccounts(database)).toEqual([]);
  });

  test("a row that moves to another partition, and one to another account", async () => {
    const { database, account } = await createPartitioned();
    const other = await insertAccount(database);
    await database.query(`insert into m_account_package_tier ${tiers(account, "2026-01-01")}`);
    await takeAccounts(database);

    await database.query(
      "update m_account_package_tier set start_date = '2027-01-01', end_date = '2027-12-31'",
    );
    expect(await takeAccounts(database)).toEqual([account]);

    await database.query("update m_account_package_tier set account_id = $1", [other]);
    expect(await takeAccounts(database)).toEqual([account, other].sort());
  });

  test("a partition that comes later, with its columns in another order", async () => {
    const { database, account } = await createPartitioned();
    await database.query(
      "create table tier_2028 (gone int, amount numeric(15, 2) not null, start_date date not null)",
    );
    const rest = await database.query<{ column: string }>(
      `select format('add %I %s %s', attname, format_type(atttypid, atttypmod), case when attnotnull then 'not null' end) as column
       from pg_attribute
       where attrelid = 'm_account_package_tier'::regclass and attnum > 0 and attname not in ('amount', 'start_date')
       order by attnum desc`,
    );
    await database.query(
      `alter table tier_2028 drop gone, ${rest.map((row) => row.column).join(", ")}`,
    );
    await database.query("alter table tier_2028 alter percentage set default false");
    await database.query(
      "alter table m_account_package_tier attach partition tier_2028 for values from ('2028-01-01') to ('2029-01-01')",
    );

    await database.query(
      `insert into m_account_package_tier ${tiers(account, "2026-01-01", "2028-01-01")}`,
    );
    await takeAccounts(database);
    await database.query("update m_account_package_tier set amount = amount + 1");

    expect(await takeAccounts(database)).toEqual([account]);
  });

  test("cascaded deletes are captured, and TRUNCATE is a marker", async () => {
    const { database, account } = await createPartitioned();
    await database.query(`insert into m_account_package_tier ${tiers(account, "2026-01-01")}`);
    await takeAccounts(database);

    await database.query("delete from m_account where id = $1", [account]);
    expect(await takeAccounts(database)).toEqual([account]);

    await database.query("truncate m_account_package_tier");
    expect(await takeMarkers(database)).toEqual(["known"]);
  });

  test("columns that were dropped after the migrate fail no statement", async () => {
    const { database, account } = await createPartitioned();
    await database.query(`insert into m_account_package_tier ${tiers(account, "2026-01-01")}`);
    await takeAccounts(database);

    await database.query("alter table m_account_package_tier drop column percentage");
    await database.query("update m_account_package_tier set amount = amount + 1");
    expect(await takeAccounts(database)).toEqual([account]);

    await database.query("update m_account_package_tier set updated_at = now()");
    expect(await takeAccounts(database)).toEqual([]);
  });

  test("a table that was partitioned after the migrate is captured after the next", async () => {
    const database = await createMigrated();
    const account = await insertAccount(database);
    await partitionTiers(database);
    await migrate({ url: database.url, info: () => {} });
    await takeAccounts(database);

    await database.query(`insert into tier_2026 ${tiers(account, "2026-01-01")}`);
    expect(await takeAccounts(database)).toEqual([account]);

    // The table it was before has lost its triggers, and works on without them.
    await database.query(`insert into plain_tier ${tiers(account, "2026-01-01")}`);
    expect(await takeAccounts(database)).toEqual([]);
  });
});

describe.each(["bigint", "text"] as const)("keys of type %s", (keyType) => {
  test("every event is captured, and a marker becomes its accounts", async () => {
    const database = await createMigrated({ keyType });
    const queue = openQueue(database);
    const account = await insertAccount(database);
    expect(await takeAccounts(database)).toEqual([account]);

    await database.query(`insert into m_account_package_tier ${tiers(account, "2026-01-01")}`);
    await database.query("update m_account_package_tier set amount = 9");
    await database.query("update m_account set name = 'other'");
    expect(await takeAccounts(database)).toEqual([account]);

    await database.query("insert into m_account_type (name) values ('branch')");
    await database.query("update m_account set account_type_id = (select id from m_account_type)");
    await takeAccounts(database);
    await takeMarkers(database);
    await database.query("update m_account_type set name = 'sub-branch'");
    await queue.fold();
    while (await queue.expand());
    expect(await takeAccounts(database)).toEqual([account]);

    await database.query("delete from m_account");
    expect(await takeAccounts(database)).toEqual([account]);
  });

  test("request takes the key in its own type and as text", async () => {
    const database = await createMigrated({ keyType });
    const account = await insertAccount(database);
    await takeAccounts(database);

    await database.query("select account_sync.request(id) from m_account");
    await database.query("select account_sync.request($1)", [account]);

    expect(await takeAccounts(database)).toEqual([account]);
  });

  test("an id the table cannot hold is kept as it came", async () => {
    const database = await createMigrated({ keyType });

    await database.query("select account_sync.request('99999999999999999999 no id')");

    expect(await takeAccounts(database)).toEqual(["99999999999999999999 no id"]);
  });
});

test("a bigint asked for with leading zeros is the account's own id", async () => {
  const database = await createMigrated({ keyType: "bigint" });

  await database.query("select account_sync.request('007')");

  expect(await takeAccounts(database)).toEqual(["7"]);
});

test.each([
  ["varchar(10)", "A-12345678", "A-12345678-and-more"],
  ["char(10)", "A-1", "A-1"],
])(
  "an id longer than a key of type %s is not cut down to another account's",
  async (type, id, asked) => {
    const database = await createDatabase({ keyType: "text" });
    await database.query(`alter table m_account alter id drop default, alter id type ${type}`);
    await migrate({ url: database.url, info: () => {} });
    await database.query("insert into m_account (id, name) values ($1, 'Toko Uji')", [id]);
    expect(await takeAccounts(database)).toEqual([id]);

    await database.query("select account_sync.request($1)", [asked]);

    expect(await takeAccounts(database)).toEqual([asked]);
  },
);

describe.each(["stored", "virtual"])("a payload column that is generated, %s:", (kind) => {
  test.for(["plain", "partitioned"])(
    "what it is made of counts (%s table)",
    async (shape, { skip }) => {
      const database = await createDatabase();
      const [server] = await database.query<{ version: number }>(
        "select current_setting('server_version_num')::integer as version",
      );
      skip(kind === "virtual" && (server?.version ?? 0) < 180_000, "needs PostgreSQL 18");
      if (shape === "partitioned") await partitionTiers(database);
      await database.query(
        `alter table m_account_package_tier drop percentage;
       alter table m_account_package_tier add unit text, add factor integer default 1;
       alter table m_account_package_tier add percentage boolean generated always as (unit = '%' and factor > 0) ${kind}`,
      );
      await migrate({ url: database.url, info: () => {} });
      const accounts = [await insertAccount(database), await insertAccount(database)];
      for (const account of accounts)
        await database.query(`insert into m_account_package_tier ${tiers(account, "2026-01-01")}`);
      expect(await takeAccounts(database)).toEqual(accounts.toSorted());

      await database.query("update m_account_package_tier set unit = '%'");
      expect(await takeAccounts(database)).toEqual(accounts.toSorted());

      await database.query("update m_account_package_tier set factor = -1 where account_id = $1", [
        accounts[0],
      ]);
      expect(await takeAccounts(database)).toEqual([accounts[0]]);

      await database.query("update m_account_package_tier set updated_at = now()");
      expect(await takeAccounts(database)).toEqual([]);
    },
  );
});

describe("what is missing", () => {
  test("without the optional tables and newer columns, what is there is captured", async () => {
    const database = await createMigrated({
      leaveOut: [
        "m_account_address",
        "m_account_bank",
        "m_bank",
        "m_account_type",
        "m_account_billing_method",
        "m_backend_ext_config",
      ],
      withoutNewerColumns: true,
    });
    const account = await insertAccount(database);
    await database.query(`insert into m_account_package_tier ${tiers(account, "2026-01-01")}`);
    await takeAccounts(database);

    await database.query("update m_account_package_tier set amount = 9");

    expect(await takeAccounts(database)).toEqual([account]);
  });

  test("a parent is a change, although its column is camel case", async () => {
    const database = await createMigrated({ withoutNewerColumns: true });
    const [parent, child] = [await insertAccount(database), await insertAccount(database)];
    await takeAccounts(database);

    await database.query('update m_account set "parentId" = $1 where id = $2', [parent, child]);

    expect(await takeAccounts(database)).toEqual([child]);
  });

  test("banks without bank accounts append no marker that nothing could expand", async () => {
    const database = await createMigrated({ leaveOut: ["m_account_bank"] });

    await database.query("insert into m_bank (name, uuid_be) values ('Bank Uji', 'ext')");

    expect(await takeMarkers(database)).toEqual([]);
  });

  test("bank accounts dropped after the migrate take the banks' triggers with them at the next", async () => {
    const database = await createMigrated();
    await database.query("drop table m_account_bank");
    await migrate({ url: database.url, info: () => {} });

    await database.query("insert into m_bank (name, uuid_be) values ('Bank Uji', 'ext')");

    expect(await takeMarkers(database)).toEqual([]);
  });

  test("percentage counts from the migrate after it came", async () => {
    const database = await createMigrated({ withoutNewerColumns: true });
    const account = await insertAccount(database);
    await database.query(`insert into m_account_package_tier ${tiers(account, "2026-01-01")}`);
    await database.query(
      "alter table m_account_package_tier add percentage boolean not null default false",
    );
    await database.query("alter table m_account add branch_uuid_be varchar(255)");
    await migrate({ url: database.url, info: () => {} });
    await takeAccounts(database);

    await database.query("update m_account set branch_uuid_be = 'ext'");
    expect(await takeAccounts(database)).toEqual([]);

    await database.query("update m_account_package_tier set percentage = true");
    expect(await takeAccounts(database)).toEqual([account]);
  });

  test("an optional table counts from the migrate after it came", async () => {
    const database = await createMigrated({ leaveOut: ["m_account_address"] });
    const account = await insertAccount(database);
    await database.query(
      "create table m_account_address (id bigint generated always as identity, account_id uuid, city text)",
    );
    await migrate({ url: database.url, info: () => {} });
    await takeAccounts(database);

    await database.query("insert into m_account_address (account_id, city) values ($1, 'Bogor')", [
      account,
    ]);

    expect(await takeAccounts(database)).toEqual([account]);
  });

  test("a table without its owner's column is an error that names it, and not one for the application", async () => {
    const database = await createDatabase({ leaveOut: ["m_account_address"] });
    await database.query("create table m_account_address (id bigint, city text)");

    await expect(migrate({ url: database.url, info: () => {} })).rejects.toMatchObject({
      name: "OperatorError",
      message: expect.stringContaining("m_account_address has no column account_id"),
    });

    await database.query("insert into m_account_address (id, city) values (1, 'Bogor')");
  });
});

async function createMigrated(options: TestDatabaseOptions = {}): Promise<TestDatabase> {
  const database = await createDatabase(options);
  await migrate({ url: database.url, info: () => {} });
  return database;
}

async function createPartitioned(): Promise<{ database: TestDatabase; account: string }> {
  const database = await createDatabase();
  await partitionTiers(database);
  await migrate({ url: database.url, info: () => {} });
  const account = await insertAccount(database);
  await takeAccounts(database);
  return { database, account };
}

/** Puts a table in two partitions by year in the place of the plain one, which stays as plain_tier. */
async function partitionTiers(database: TestDatabase): Promise<void> {
  await withClient(database.url, async (client) => {
    await client.query("alter table m_account_package_tier rename to plain_tier");
    await client.query(
      `create table m_account_package_tier (
         like plain_tier including defaults,
         foreign key (account_id) references m_account (id) on delete cascade
       ) partition by range (start_date)`,
    );
    for (const year of [2026, 2027])
      await client.query(
        `create table tier_${year} partition of m_account_package_tier for values from ('${year}-01-01') to ('${year + 1}-01-01')`,
      );
  });
}

/** Columns and values of one tier a year long for every start, for one account. */
function tiers(account: string, ...starts: string[]): string {
  const rows = starts.map(
    (start) => `('${account}', 1, 1000, 2.5, '${start}', date '${start}' + 300)`,
  );
  return `(account_id, min_value, max_value, amount, start_date, end_date) values ${rows.join(", ")}`;
}

async function insertAccount(database: TestDatabase): Promise<string> {
  const [row] = await database.query<{ id: string }>(
    "insert into m_account (name) values ('Toko Uji') returning id::text",
  );
  if (row === undefined) throw new Error("the account was not inserted");
  return row.id;
}

/** Removes the changes of accounts. Resolves with the accounts, sorted. */
async function takeAccounts(database: TestDatabase): Promise<string[]> {
  const rows = await database.query<{ account_id: string }>(
    `with taken as (delete from account_sync.change where account_id is not null returning account_id)
     select distinct account_id from taken`,
  );
  return rows.map((row) => row.account_id).sort();
}

async function takeMarkers(database: TestDatabase): Promise<string[]> {
  const rows = await database.query<{ marker: string }>(
    "delete from account_sync.change where marker is not null returning marker",
  );
  return rows.map((row) => row.marker);
}
