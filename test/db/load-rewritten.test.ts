/**
 * Loads beside an application that alters its tables: no account looks removed, none looks as if it had no tiers, and the application never
 * waits long for a load, or ends in a deadlock with one.
 */
import { describe, expect, test } from "vitest";
import { type LastSource, loadAccountsWith } from "../../src/account/load.ts";
import { insertAccount } from "../support/accounts.ts";
import { eventually } from "../support/eventually.ts";
import { openOwnDatabase } from "../support/own-database.ts";
import {
  createDatabase as createTestDatabase,
  type TestDatabase,
  withClient,
} from "../support/postgres.ts";

const LOADS = 3;

const PARTITIONED = `
  alter table m_account_package_tier rename to tier_of_2026;
  create table m_account_package_tier (like tier_of_2026 including defaults) partition by range (start_date);
  alter table m_account_package_tier attach partition tier_of_2026 default`;

const WITHOUT_FOREIGN_KEYS = `
  alter table m_account_package_tier drop constraint m_account_package_tier_account_id_fkey;
  alter table m_account_pic drop constraint m_account_pic_account_id_fkey;
  alter table m_account_address drop constraint m_account_address_account_id_fkey;
  alter table m_account_bank drop constraint m_account_bank_account_id_fkey;
  alter table m_account drop constraint "m_account_parentId_fkey"`;

const ALTERATIONS: readonly { what: string; shape?: string; alter: string }[] = [
  {
    what: "accounts written anew, with another column",
    alter: "alter table m_account add column extra uuid default gen_random_uuid()",
  },
  {
    what: "accounts written anew, with another key",
    shape: WITHOUT_FOREIGN_KEYS,
    alter: `
      alter table m_account alter column id type text, alter column "parentId" type text;
      alter table m_account_package_tier alter column account_id type text`,
  },
  {
    what: "accounts replaced by a copy under their name",
    alter: `
      create table copy (like m_account including all);
      insert into copy select * from m_account;
      alter table m_account rename to m_account_old;
      alter table copy rename to m_account`,
  },
  {
    what: "a column of accounts replaced by another one of its name",
    alter: `
      alter table m_account add column phone_2 varchar(50);
      update m_account set phone_2 = phone_no;
      alter table m_account drop column phone_no;
      alter table m_account rename column phone_2 to phone_no`,
  },
  {
    what: "account types truncated and filled again",
    alter: `
      create temporary table kept on commit drop as select * from m_account_type;
      truncate m_account_type cascade;
      insert into m_account_type select * from kept`,
    // Truncated with them.
    shape: `${WITHOUT_FOREIGN_KEYS}; alter table m_account drop constraint m_account_account_type_id_fkey`,
  },
  {
    what: "tiers written anew",
    alter: "alter table m_account_package_tier alter column max_value type numeric(30, 4)",
  },
  {
    what: "tiers in partitions, written anew",
    shape: PARTITIONED,
    alter: "alter table m_account_package_tier alter column max_value type numeric(30, 4)",
  },
  {
    what: "tiers in partitions, one of which is replaced by its copy",
    shape: PARTITIONED,
    alter: `
      create table copy (like tier_of_2026 including defaults);
      insert into copy select * from tier_of_2026;
      alter table m_account_package_tier detach partition tier_of_2026;
      alter table m_account_package_tier attach partition copy default`,
  },
  {
    what: "tiers truncated and filled again",
    alter: `
      create temporary table kept on commit drop as select * from m_account_package_tier;
      truncate m_account_package_tier;
      insert into m_account_package_tier select * from kept`,
  },
  {
    what: "tiers dropped and made anew",
    alter: `
      create temporary table kept on commit drop as select * from m_account_package_tier;
      drop table m_account_package_tier;
      create table m_account_package_tier as select * from kept`,
  },
  {
    what: "tiers replaced by a copy under their name",
    alter: `
      create table copy (like m_account_package_tier including all);
      insert into copy select * from m_account_package_tier;
      alter table m_account_package_tier rename to m_account_package_tier_old;
      alter table copy rename to m_account_package_tier`,
  },
  {
    what: "a table without which accounts are sent, removed",
    alter: "select account_sync.remove_capture('m_account_bank'); drop table m_account_bank",
  },
  {
    what: "tiers that become a view",
    alter: `
      alter table m_account_package_tier rename to tier;
      create view m_account_package_tier as select * from tier`,
  },
];

/** Where a session's state lasts, and behind a pooler. */
const SESSIONS = [{ settingsPerTransaction: false }, { settingsPerTransaction: true }];

describe.each(SESSIONS)("settings per transaction $settingsPerTransaction", (settings) => {
  test.each(ALTERATIONS)("$what while a load waits", async ({ shape, alter }) => {
    const database = await createTestDatabase({ migrated: true });
    const ids = [await insertAccount(database), await insertAccount(database, { tiers: 1 })];
    if (shape !== undefined) await database.pool.query(shape);
    const load = openLoads(database, settings);
    const before = await load(ids);

    const loads = await withClient(database.url, async (application) => {
      await application.query("begin");
      await application.query(alter);
      const underWay = Array.from({ length: LOADS }, () => load(ids));
      await eventually(async () => expect(await countWaiting(database)).toBe(LOADS));
      await application.query("commit");
      return await Promise.all(underWay);
    });

    for (const loaded of loads) {
      expect(loaded.map(({ account }) => account?.id)).toEqual(ids);
      expect(loaded.map(({ account }) => account?.tiers.length)).toEqual([2, 1]);
      const comparable = ({ account }: (typeof loaded)[number]) => [
        account?.phoneNo,
        account?.typeName,
      ];
      expect(loaded.map(comparable)).toEqual(before.map(comparable));
    }
  });

  test.each([
    ["another table first", "m_account_address", "m_account"],
    ["accounts first", "m_account", "m_account_address"],
    ["a table that is read last", "m_account_type", "m_account_package_tier"],
  ])(
    "an application that alters two tables, %s, is not ended as a deadlock with a load that came between",
    async (_, first, second) => {
      const database = await createTestDatabase({ migrated: true });
      const ids = [await insertAccount(database)];
      const load = openLoads(database, settings);
      await load(ids);

      const loads = await withClient(database.url, async (application) => {
        await application.query("begin");
        await application.query(`alter table ${first} add column zone text`);
        const underWay = Array.from({ length: LOADS }, () => load(ids));
        // Longer than the second after which the server looks for deadlocks.
        await application.query("select pg_sleep(1.3)");
        await application.query(`alter table ${second} add column zone text`);
        await application.query("commit");
        return await Promise.all(underWay);
      });

      for (const loaded of loads) expect(loaded.map(({ account }) => account?.id)).toEqual(ids);
    },
  );
});

test("while a table is held for long, who wants the others does not wait behind a load", async () => {
  const database = await createTestDatabase({ migrated: true });
  const ids = [await insertAccount(database)];
  const load = openLoads(database, { settingsPerTransaction: false });
  await load(ids);

  await withClient(database.url, async (one) => {
    await one.query("begin");
    await one.query("alter table m_account_type add column zone text");
    const underWay = load(ids);
    await eventually(async () => expect(await countWaiting(database)).toBe(1));

    await withClient(database.url, async (other) => {
      // The load asks for its tables again and again meanwhile.
      await other.query("set lock_timeout = '3s'");
      await other.query("alter table m_account add column zone text");
    });

    expect(await countWaiting(database)).toBeLessThanOrEqual(1);
    await one.query("rollback");
    expect((await underWay).map(({ account }) => account?.id)).toEqual(ids);
  });
});

function openLoads(database: TestDatabase, settings: { readonly settingsPerTransaction: boolean }) {
  const db = openOwnDatabase(database.url, { max: LOADS, ...settings });
  const last: LastSource = { source: null };
  const nothing = { read: async () => new Map<string, never>(), excess: () => null };
  return (ids: readonly string[]) => loadAccountsWith(db, ids, nothing, last);
}

async function countWaiting(database: TestDatabase): Promise<number> {
  const waiting = await database.query(
    "select from pg_locks l join pg_stat_activity a using (pid) where a.datname = current_database() and not l.granted and a.pid <> pg_backend_pid() and a.query like '%lock table%'",
  );
  return waiting.length;
}
