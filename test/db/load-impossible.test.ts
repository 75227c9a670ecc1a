/**
 * Values that are none of their type (22P02, 22003): an id that the key cannot hold is an account that does not exist. Any other one says
 * nothing about the account, which must not pass for removed: its customer would be deleted.
 */
import { describe, expect, test } from "vitest";
import { loadAccounts } from "../../src/account/load.ts";
import type { Database } from "../../src/db/database.ts";
import { insertAccount } from "../support/accounts.ts";
import { createEngine, only } from "../support/engine.ts";
import { createFakeApi } from "../support/fake-api.ts";
import { openOwnDatabase } from "../support/own-database.ts";
import {
  createDatabase as createTestDatabase,
  serverUrl,
  withClient,
} from "../support/postgres.ts";

async function versionOf(): Promise<number> {
  const { rows } = await withClient(serverUrl(), (client) =>
    client.query("select current_setting('server_version_num')::integer as version"),
  );
  return rows[0]?.version ?? 0;
}

async function open(shape: string): Promise<{ ids: string[]; db: Database }> {
  const database = await createTestDatabase({ migrated: true });
  const ids = [await insertAccount(database), await insertAccount(database)];
  await database.pool.query(shape);
  return { ids, db: openOwnDatabase(database.url) };
}

/** One row of it belongs to nobody, and cannot be read. */
const VIEW = `
  alter table m_account_bank rename to bank_accounts;
  create table imported (like bank_accounts including defaults);
  alter table imported alter column account_id type text;
  create view m_account_bank as
    select * from bank_accounts
    union all
    select (jsonb_populate_record(null::bank_accounts, to_jsonb(i))).* from imported i;
  insert into imported (account_id) values ('n/a')`;

test.for([
  { what: "a view with a row that cannot be read", shape: VIEW, code: "22P02" },
  {
    what: "a generated column that overflows when it is read",
    shape: `
      alter table m_account_package_tier drop column amount;
      alter table m_account_package_tier add column amount numeric(4, 2) generated always as (max_value * 0.1) virtual`,
    code: "22003",
    needsVersion: 180_000,
  },
])("$what fails the load of each account", async ({ shape, code, needsVersion = 0 }, { skip }) => {
  skip((await versionOf()) < needsVersion, "needs PostgreSQL 18");
  const { ids, db } = await open(shape);

  await expect(loadAccounts(db, ids)).rejects.toMatchObject({ code });
  for (const id of ids) await expect(loadAccounts(db, [id])).rejects.toMatchObject({ code });
});

describe("an id that a key cannot hold", () => {
  const INTEGERS = (accountId: string) => `
    alter table m_account_package_tier drop constraint m_account_package_tier_account_id_fkey;
    alter table m_account_pic drop constraint m_account_pic_account_id_fkey;
    alter table m_account_address drop constraint m_account_address_account_id_fkey;
    alter table m_account_bank drop constraint m_account_bank_account_id_fkey;
    alter table m_account drop constraint "m_account_parentId_fkey";
    delete from m_account_pic; delete from m_account_package_tier; delete from m_account;
    alter table m_account alter column id drop default, alter column id type bigint using 1, alter column "parentId" type bigint using null;
    alter table m_account_package_tier alter column account_id type bigint using 1;
    alter table m_account_pic alter column account_id type bigint using 1;
    alter table m_account_address alter column account_id type bigint using 1;
    alter table m_account_bank alter column account_id type ${accountId} using 1;
    insert into m_account (id, name) values (7, 'Toko'), (3000000000, 'Toko')`;

  test("is an account that does not exist, beside others that do", async () => {
    const { db } = await open(INTEGERS("bigint"));

    const loaded = await loadAccounts(db, ["7", "99999999999999999999", "3000000000", "no number"]);

    expect(loaded.map(({ account }) => account?.id)).toEqual([
      "7",
      undefined,
      "3000000000",
      undefined,
    ]);
  });

  test("of another table only, is not", async () => {
    const { db } = await open(INTEGERS("integer"));

    const [small] = await loadAccounts(db, ["7"]);

    expect(small?.account?.id).toBe("7");
    await expect(loadAccounts(db, ["3000000000"])).rejects.toMatchObject({ code: "22003" });
  });
});

test("an account that cannot be read is not deleted at the API", async () => {
  const engine = await createEngine();
  const api = createFakeApi();
  const policy = { onAccountDelete: "delete" as const };
  const { id } = await engine.insertAccount();
  await engine.round(api, { policy });
  await engine.query(VIEW);
  await engine.rename(id, "Newer");

  const outcome = await only(engine.round(api, { policy }));

  expect(outcome).toMatchObject({ name: "retry", error: expect.stringContaining("22P02") });
  expect(api.requests.map(({ operation }) => operation)).toEqual(["create"]);
});
