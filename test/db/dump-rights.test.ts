/** Who could dump the database before account-sync came can dump it afterwards, and nobody else can read what is in its schema. */
import { describe, expect, test } from "vitest";
import { withCheckContext } from "../../src/check-context.ts";
import { lookAtDumpRights } from "../../src/checks/dump-rights.ts";
import { readConfig } from "../../src/config.ts";
import { migrate } from "../../src/db/migrate.ts";
import type { Diagnosis } from "../../src/operator-error.ts";
import { createDatabase, type TestDatabase, withClient } from "../support/postgres.ts";
import { createRole, LEAST_GRANTS, type TestRole } from "../support/roles.ts";

const CAPTURED =
  "m_account m_account_package_tier m_account_pic m_account_address m_account_bank m_bank m_account_type m_account_billing_method".split(
    " ",
  );

describe("migrate lets", () => {
  test("the owner of the tables read all of the schema, says so, and says it once", async () => {
    const { database, ours } = await prepare();
    const owner = await createRole(database, giving(CAPTURED, "%role"));

    const said = await migrateSaying(ours.url);
    const saidAgain = await migrateSaying(ours.url);

    expect(said).toEqual([
      `Role ${owner.name}, which owns source tables, may now read schema account_sync: otherwise its pg_dump would fail`,
    ]);
    expect(saidAgain).toEqual([]);
    expect(await unreadableTo(owner)).toEqual([]);
    expect(await findings(ours)).toEqual([]);
  });

  test("a group role that owns the tables, and so those who log in and are members of it", async () => {
    const { database, ours } = await prepare();
    const group = await createRole(
      database,
      `alter role %role nologin; ${giving(CAPTURED, "%role")}`,
    );
    const member = await createRole(database, `grant ${group.name} to %role`);

    await migrateSaying(ours.url);

    expect(await unreadableTo(member)).toEqual([]);
  });

  test("each of several owners that can read every captured table, and no other", async () => {
    const { database, ours } = await prepare();
    const [reader, stranger] = [
      await createRole(
        database,
        `${giving(["m_account", "m_account_pic"], "%role")} grant select on all tables in schema public to %role;`,
      ),
      // The journal holds what stands in the accounts, which the owner of the banks may not read.
      await createRole(database, giving(["m_bank"], "%role")),
    ];

    await migrateSaying(ours.url);

    expect(await unreadableTo(reader)).toEqual([]);
    expect(await unreadableTo(stranger)).toEqual(["schema account_sync"]);
    expect(await findings(ours)).toEqual([]);
  });

  test("the owner of a partitioned table", async () => {
    const { database, ours } = await prepare();
    await database.query(
      `drop table m_account_address;
       create table m_account_address (id uuid, account_id uuid, address1 text, is_active bool) partition by list (is_active);
       create table m_account_address_active partition of m_account_address for values in (true);
       grant select, trigger on m_account_address to ${ours.name}; grant trigger on m_account_address_active to ${ours.name}`,
    );
    const owner = await createRole(
      database,
      `${giving(CAPTURED, "%role")} alter table m_account_address_active owner to %role;`,
    );

    await migrateSaying(ours.url);

    expect(await unreadableTo(owner)).toEqual([]);
  });

  test("the owner, where the schema belongs to a group that our role is a member of", async () => {
    const { database, ours } = await prepare();
    const owner = await createRole(database, giving(CAPTURED, "%role"));
    await createRole(
      database,
      `alter role %role nologin; grant %role to ${ours.name}; alter schema account_sync owner to %role`,
    );

    await migrateSaying(ours.url);

    expect(await unreadableTo(owner)).toEqual([]);
  });
});

test("grants that were taken away are found, with the SQL that brings them back", async () => {
  const { database, ours } = await prepare();
  const owner = await createRole(database, giving(CAPTURED, "%role"));
  await migrateSaying(ours.url);
  await database.query(`revoke select on account_sync.attempt from ${owner.name}`);

  const [found] = await findings(ours);
  await database.query(found?.remedy ?? "");

  expect(found?.problem).toBe(
    `Role ${owner.name} owns source tables, and its pg_dump of the database fails: it may not read 1 relation of schema account_sync.`,
  );
  expect(await unreadableTo(owner)).toEqual([]);
  expect(await findings(ours)).toEqual([]);
});

test("before the first migrate nothing stands in the way of a dump", async () => {
  const { ours } = await prepare();

  expect(await findings(ours)).toEqual([]);
});

async function prepare(): Promise<{ database: TestDatabase; ours: TestRole }> {
  const database = await createDatabase();
  return { database, ours: await createRole(database, LEAST_GRANTS) };
}

function giving(tables: readonly string[], role: string): string {
  return tables.map((table) => `alter table ${table} owner to ${role};`).join(" ");
}

async function migrateSaying(url: string): Promise<string[]> {
  const said: string[] = [];
  await migrate({ url, info: (message) => said.push(message) });
  return said;
}

async function findings(role: TestRole): Promise<readonly Diagnosis[]> {
  const config = readConfig({
    DATABASE_URL: role.url,
    CUSTOMER_API_URL: "https://api.example.com",
  });
  return await withCheckContext(config, role.url, lookAtDumpRights);
}

/** What pg_dump would fail at: it locks every table, and reads tables and sequences. */
async function unreadableTo(role: TestRole): Promise<string[]> {
  return await withClient(role.url, async (client) => {
    const { rows } = await client.query<{ name: string; kind: string }>(
      "select format('%I.%I', nspname, relname) as name, relkind as kind from pg_class c join pg_namespace n on n.oid = relnamespace where nspname = 'account_sync' and relkind in ('r', 'p', 'S') order by 1",
    );
    const failed: string[] = [];
    for (const { name, kind } of rows) {
      await client.query("begin");
      try {
        if (kind !== "S") await client.query(`lock table ${name} in access share mode`);
        await client.query(`select * from ${name} limit 1`);
      } catch (error) {
        if (/permission denied for schema/.test(String(error))) return ["schema account_sync"];
        failed.push(name);
      } finally {
        await client.query("rollback");
      }
    }
    return failed;
  });
}
