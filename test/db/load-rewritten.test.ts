/**
 * A load that has to wait for an application's ALTER TABLE, whose snapshot is older than what the ALTER TABLE has written anew: no account
 * looks removed, and none looks as if it had no tiers.
 */
import { afterEach, expect, test } from "vitest";
import { loadAccounts } from "../../src/account/load.ts";
import { createDatabase, type Database } from "../../src/db/database.ts";
import { insertAccount } from "../support/accounts.ts";
import { eventually } from "../support/eventually.ts";
import { createDatabase as createTestDatabase, withClient } from "../support/postgres.ts";

const LOADS = 3;

const opened: Database[] = [];

afterEach(async () => {
  for (const db of opened.splice(0)) await db.close();
});

const PARTITIONED = `
  alter table m_account_package_tier rename to tier_of_2026;
  create table m_account_package_tier (like tier_of_2026 including defaults) partition by range (start_date);
  alter table m_account_package_tier attach partition tier_of_2026 default`;

test.each([
  {
    what: "accounts written anew, with another column",
    alter: "alter table m_account add column extra uuid default gen_random_uuid()",
  },
  {
    what: "accounts written anew, with another key",
    shape: `
      alter table m_account_package_tier drop constraint m_account_package_tier_account_id_fkey;
      alter table m_account_pic drop constraint m_account_pic_account_id_fkey;
      alter table m_account_address drop constraint m_account_address_account_id_fkey;
      alter table m_account_bank drop constraint m_account_bank_account_id_fkey;
      alter table m_account drop constraint "m_account_parentId_fkey"`,
    alter: `
      alter table m_account alter column id type text, alter column "parentId" type text;
      alter table m_account_package_tier alter column account_id type text`,
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
    what: "tiers truncated and filled again",
    alter: `
      create temporary table kept on commit drop as select * from m_account_package_tier;
      truncate m_account_package_tier;
      insert into m_account_package_tier select * from kept`,
  },
  {
    what: "tiers dropped and made anew",
    // In the order in which the load reads the tables, or the two would be in a deadlock.
    alter: `
      lock table m_account in access exclusive mode;
      create temporary table kept on commit drop as select * from m_account_package_tier;
      drop table m_account_package_tier;
      create table m_account_package_tier as select * from kept`,
  },
])("$what while a load waits", async ({ shape, alter }) => {
  const database = await createTestDatabase({ migrated: true });
  const ids = [await insertAccount(database), await insertAccount(database, { tiers: 1 })];
  if (shape !== undefined) await database.pool.query(shape);
  const db = createDatabase({
    url: database.url,
    applicationName: "account-sync test",
    max: LOADS,
    synchronousCommit: "on",
    settingsPerTransaction: false,
    onError: () => {},
  });
  opened.push(db);
  await loadAccounts(db, ids);

  const loads = await withClient(database.url, async (application) => {
    await application.query("begin");
    await application.query(alter);
    const underWay = Array.from({ length: LOADS }, () => loadAccounts(db, ids));
    // They have their snapshots, and wait.
    await eventually(async () => {
      const waiting = await database.query(
        "select from pg_stat_activity where datname = current_database() and application_name = 'account-sync test' and wait_event_type = 'Lock'",
      );
      expect(waiting).toHaveLength(LOADS);
    });
    await application.query("commit");
    return await Promise.all(underWay);
  });

  for (const loaded of loads) {
    expect(loaded.map(({ account }) => account?.id)).toEqual(ids);
    expect(loaded.map(({ account }) => account?.tiers.length)).toEqual([2, 1]);
  }
});
