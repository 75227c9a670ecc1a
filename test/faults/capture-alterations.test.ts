/**
 * The application alters a captured table before the next migrate, while its sessions are connected: no statement of theirs fails and no
 * change is missed, also where a session has prepared its plans before.
 */
import type pg from "pg";
import { describe, expect, test } from "vitest";
import { migrate } from "../../src/db/migrate.ts";
import { createDatabase, type TestDatabase, withClient } from "../support/postgres.ts";

interface Alteration {
  readonly what: string;
  /** `%t` is the table. */
  readonly sql: string;
  /** An update of every tier afterwards. */
  readonly change?: string;
  readonly needs?: "a plain table" | "a partitioned table" | "PostgreSQL 18";
}

const ADD = "amount = amount + 1";
const ALTERATIONS: readonly Alteration[] = [
  { what: "a column added", sql: "alter table %t add note text" },
  { what: "a column added, with a default", sql: "alter table %t add note text default 'x'" },
  {
    what: "a column added that is computed",
    sql: "alter table %t add twice numeric generated always as (amount * 2) stored",
  },
  { what: "a payload column dropped", sql: "alter table %t drop percentage" },
  { what: "another column dropped", sql: "alter table %t drop created_by" },
  {
    what: "a payload column renamed",
    sql: "alter table %t rename amount to sum",
    change: "sum = sum + 1",
  },
  { what: "another column renamed", sql: "alter table %t rename created_by to author" },
  {
    what: "two payload columns that change their names",
    sql: "alter table %t rename amount to kept; alter table %t rename min_value to amount; alter table %t rename kept to min_value",
    change: "min_value = min_value + 1",
  },
  {
    what: "the owner's column dropped and added again",
    sql: "alter table %t add owner uuid; update %t set owner = account_id; alter table %t drop account_id; alter table %t rename owner to account_id",
  },
  { what: "a longer type", sql: "alter table %t alter amount type numeric(18, 4)" },
  {
    what: "another type with the same operators",
    sql: "alter table %t alter amount type double precision",
  },
  {
    what: "a type that compares as text",
    sql: "alter table %t drop constraint if exists tier_values_not_negative; alter table %t alter amount type text using amount::text",
    change: "amount = amount || '1'",
  },
  {
    what: "a type without equality",
    sql: "alter table %t drop constraint if exists tier_values_not_negative; alter table %t alter amount type json using to_json(amount)",
    change: "amount = to_json(amount::text || '1')",
  },
  {
    what: "a type in another schema",
    sql: "create schema other; create domain other.money as numeric; alter table %t alter amount type other.money",
  },
  {
    what: "an array",
    sql: "alter table %t drop constraint if exists tier_values_not_negative; alter table %t alter amount type numeric[] using array[amount]",
    change: "amount = amount || 1.0",
  },
  {
    what: "a key of another type",
    sql: "alter table %t alter id drop default, alter id type text using id::text, alter id set default gen_random_uuid()::text",
  },
  {
    what: "a column dropped and added again with another type",
    sql: "alter table %t drop percentage; alter table %t add percentage text default 'no'",
    change: "percentage = 'yes ' || random()",
  },
  {
    what: "a column dropped and added again as a stored one",
    sql: "alter table %t drop percentage; alter table %t add percentage boolean generated always as (amount > 5) stored",
  },
  {
    what: "a column dropped and added again as a virtual one",
    sql: "alter table %t drop percentage; alter table %t add base integer default 0; alter table %t add percentage boolean generated always as (base % 2 = 1) virtual",
    change: "base = base + 1",
    needs: "PostgreSQL 18",
  },
  { what: "a default changed", sql: "alter table %t alter amount set default 3" },
  {
    what: "null allowed, and forbidden elsewhere",
    sql: "alter table %t alter amount drop not null; alter table %t alter is_active set not null",
  },
  { what: "a constraint added", sql: "alter table %t add constraint positive check (amount > -1)" },
  {
    what: "a constraint dropped",
    sql: "alter table %t add constraint positive check (amount > -1); alter table %t drop constraint positive",
  },
  { what: "an index added", sql: "create index on %t (amount)" },
  {
    what: "statistics and storage",
    sql: "alter table %t alter updated_by set statistics 500; alter table %t alter updated_by set storage external; analyze %t",
  },
  { what: "row security", sql: "alter table %t enable row level security" },
  {
    what: "a trigger of the application",
    sql: "create function touch() returns trigger language plpgsql as 'begin new.updated_by := ''touch''; return new; end'; create trigger touch before update on %t for each row execute function touch()",
  },
  {
    what: "the table written anew",
    sql: "alter table %t set (fillfactor = 50); cluster %t using m_account_package_tier_pkey",
    needs: "a plain table",
  },
  {
    what: "another owner",
    sql: "create role %r; grant create on schema public to %r; alter table %t owner to %r",
  },
  { what: "a right granted", sql: "grant select (amount) on %t to public" },
  {
    what: "renamed, and back",
    sql: "alter table %t rename to away; alter table away rename to %t",
  },
  {
    what: "a table that inherits",
    sql: "create table %t_child () inherits (%t)",
    needs: "a plain table",
  },
  {
    what: "a partition detached, and attached again",
    sql: "alter table %t detach partition tier_2026; alter table %t attach partition tier_2026 for values from ('2026-01-01') to ('2027-01-01')",
    needs: "a partitioned table",
  },
];

describe.each(["a plain table", "a partitioned table"] as const)("%s:", (shape) => {
  test.for(ALTERATIONS)("$what", async ({ sql, change = ADD, needs }, { skip }) => {
    const database = await createTiers(shape);
    const isMet =
      needs === "PostgreSQL 18" ? await isAtLeast(database, 180_000) : (needs ?? shape) === shape;
    skip(!isMet, `needs ${needs}`);
    const role = `owner_${database.name}`;
    const alter = sql.replaceAll("%t", "m_account_package_tier").replaceAll("%r", role);

    await withClient(database.url, (altering) =>
      withClient(database.url, async (connected) => {
        for (const client of [altering, connected, altering, connected])
          expect(await capturedBy(client, ADD)).toEqual(EACH);

        await altering.query("begin");
        expect(await capturedBy(altering, ADD)).toEqual(EACH);
        await altering.query(alter);
        expect(await capturedBy(altering, change)).toEqual(EACH);
        await altering.query("rollback");
        expect(await capturedBy(altering, ADD)).toEqual(EACH);

        await altering.query(alter);
        for (const client of [altering, connected, altering, connected])
          expect(await capturedBy(client, change)).toEqual(EACH);
      }),
    );

    await database.query(
      `do $$ begin
         if to_regrole('${role}') is not null then
           reassign owned by ${role} to current_user;
           drop owned by ${role};
           drop role ${role};
         end if;
       end $$`,
    );
  });
});

/** How many accounts are captured. */
const EACH = { insert: 1, update: 2, updateOfOne: 1, touch: 0, delete: 1 };

async function capturedBy(client: pg.Client, change: string): Promise<Record<string, number>> {
  const first = "(select id from m_account_package_tier order by created_at limit 1)";
  const statements = {
    insert: await insertCopy(client),
    update: `update m_account_package_tier set ${change}`,
    updateOfOne: `update m_account_package_tier set ${change} where id = ${first}`,
    touch: "update m_account_package_tier set updated_at = clock_timestamp(), uuid_be = random()",
    delete: "delete from m_account_package_tier where created_at = 'infinity'",
  };
  const captured: Record<string, number> = {};
  for (const [event, statement] of Object.entries(statements)) {
    await client.query("delete from account_sync.change");
    await client.query(statement);
    const { rows } = await client.query("select distinct account_id from account_sync.change");
    captured[event] = rows.length;
  }
  return captured;
}

/** The columns that there are by now. */
async function insertCopy(client: pg.Client): Promise<string> {
  const { rows } = await client.query<{ columns: string }>(
    `select string_agg(quote_ident(attname), ', ') as columns
     from pg_attribute
     where attrelid = 'm_account_package_tier'::regclass and attnum > 0 and not attisdropped
       and attgenerated = '' and attname not in ('id', 'created_at')`,
  );
  const columns = rows[0]?.columns;
  return `insert into m_account_package_tier (created_at, ${columns})
          select 'infinity', ${columns} from m_account_package_tier order by created_at limit 1`;
}

/** Two accounts with a tier each. */
async function createTiers(shape: "a plain table" | "a partitioned table"): Promise<TestDatabase> {
  const database = await createDatabase();
  if (shape === "a partitioned table")
    await database.query(
      `alter table m_account_package_tier rename to plain_tier;
       create table m_account_package_tier (like plain_tier including defaults) partition by range (start_date);
       create table tier_2026 partition of m_account_package_tier for values from ('2026-01-01') to ('2027-01-01');
       create table tier_2027 partition of m_account_package_tier for values from ('2027-01-01') to ('2028-01-01')`,
    );
  await migrate({ url: database.url, info: () => {} });
  await database.query(
    `with account as (insert into m_account (name) values ('Toko Uji'), ('Toko Lain') returning id)
     insert into m_account_package_tier (account_id, min_value, max_value, amount, start_date, end_date)
     select id, 1, 1000, 2.5, '2026-01-01', '2026-12-31' from account`,
  );
  return database;
}

async function isAtLeast(database: TestDatabase, version: number): Promise<boolean> {
  const [row] = await database.query<{ is: boolean }>(
    "select current_setting('server_version_num')::integer >= $1 as is",
    [version],
  );
  return row?.is ?? false;
}
