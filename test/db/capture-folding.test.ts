/** What the triggers append is folded into the queue; markers are expanded to the accounts that they concern. */
import { beforeAll, beforeEach, describe, expect, test } from "vitest";
import { migrate } from "../../src/db/migrate.ts";
import {
  type CapturedTables,
  createCapturedTables,
  openQueue,
} from "../support/captured-tables.ts";
import { createDatabase, withClient } from "../support/postgres.ts";

let tables: CapturedTables;

beforeAll(async () => {
  tables = await createCapturedTables();
});

beforeEach(async () => {
  await tables.reset();
});

describe("folding", () => {
  test("a change nobody was told of waits in the table until somebody looks", async () => {
    const account = await tables.insertAccount();

    const folded = await openQueue(tables.database).fold();

    expect(folded).toMatchObject({ changes: 1, accounts: 1 });
    expect(await tables.stateOf(account)).toBe("waiting");
  });

  test("a transaction that stays open holds nobody up, and is found when it commits", async () => {
    const [late, early] = [await tables.insertAccount(), await tables.insertAccount()];
    const queue = openQueue(tables.database);
    await tables.takeChanges();

    await withClient(tables.url, async (open) => {
      await open.query("begin");
      await open.query("update m_account set name = 'late' where id = $1", [late]);
      await tables.query("update m_account set name = 'early' where id = $1", [early]);

      expect(await queue.fold()).toMatchObject({ changes: 1 });
      expect(await tables.stateOf(early)).toBe("waiting");

      await open.query("commit");
    });
    expect(await queue.fold()).toMatchObject({ changes: 1 });
    expect(await tables.stateOf(late)).toBe("waiting");
  });

  test.each([
    ["m_account_type", "update m_account_type set name = 'branch' where id = $1"],
    ["m_bank", "update m_bank set uuid_be = 'ext-bank' where id = $1"],
    [
      "m_account_billing_method",
      "update m_account_billing_method set method = 'Auto Deduct' where id = $1",
    ],
  ])("a changed row of %s becomes the accounts that depend on it", async (table, update) => {
    const indirect = await tables.insert(table);
    const depending = await tables.insertAccount(
      table === "m_account_type" ? { account_type_id: indirect } : {},
    );
    const bystander = await tables.insertAccount();
    if (table === "m_bank")
      await tables.insert("m_account_bank", { account_id: depending, bank_id: indirect });
    if (table === "m_account_billing_method")
      await tables.insert("m_account_package_tier", {
        account_id: depending,
        billing_method_id: indirect,
      });
    const queue = openQueue(tables.database);
    await tables.takeChanges();

    await tables.query(update, [indirect]);

    expect(await queue.fold()).toEqual({ changes: 1, accounts: 0, markers: 1 });
    expect(await queue.expand()).toBe(true);
    expect(await tables.takeChanges()).toEqual([{ account_id: depending }]);
    expect(await queue.expand()).toBe(false);
    expect(await tables.stateOf(bystander)).toBeNull();
  });

  test("a bank account of nobody does not hold up its bank's marker", async () => {
    const bank = await tables.insert("m_bank");
    await tables.insert("m_account_bank", { account_id: null, bank_id: bank });
    const queue = openQueue(tables.database);
    await tables.takeChanges();

    await tables.query("update m_bank set uuid_be = 'ext-bank' where id = $1", [bank]);
    await queue.fold();

    expect(await queue.expand()).toBe(true);
    expect(await queue.expand()).toBe(false);
    expect(await tables.takeChanges()).toEqual([]);
  });

  test("more accounts than one step marks are all marked", async () => {
    const type = await tables.insert("m_account_type");
    await tables.query(
      "insert into m_account (name, account_type_id) select n::text, $1 from generate_series(1, 5001) n",
      [type],
    );
    const queue = openQueue(tables.database);
    await tables.takeChanges();
    await tables.query("update m_account_type set name = 'other' where id = $1", [type]);
    await queue.fold();

    let steps = 0;
    while (await queue.expand()) steps += 1;

    const marked = new Set((await tables.takeChanges()).map((change) => change.account_id));
    expect({ steps, marked: marked.size }).toEqual({ steps: 2, marked: 5_001 });
    await tables.query("delete from m_account where account_type_id = $1", [type]);
  });

  test("TRUNCATE becomes the accounts that the queue knows", async () => {
    const truncated = await createDatabase();
    await truncated.query("insert into m_account (name) values ('from before')");
    await migrate({ url: truncated.url, info: () => {} });
    await truncated.query("insert into m_account (name) values ('known')");
    const queue = openQueue(truncated);
    await queue.fold();

    await truncated.query("truncate m_account_pic");
    await queue.fold();
    while (await queue.expand());

    expect(
      await truncated.query(
        "select name from m_account join account_sync.change on account_id = id::text",
      ),
    ).toEqual([{ name: "known" }]);
  });
});
