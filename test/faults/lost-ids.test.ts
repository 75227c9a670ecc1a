/**
 * F41, F47 and F48: ids that the database loses. An application puts null over them, accounts are deleted while they are created, the
 * whole database goes back to an earlier point. No second customer is made, and none is left behind.
 */
import { expect, test } from "vitest";
import { insertAccount } from "../support/accounts.ts";
import { audit } from "../support/audit.ts";
import { eventually } from "../support/eventually.ts";
import { recordFault } from "../support/evidence.ts";
import { serverUrl, type TestDatabase, withClient } from "../support/postgres.ts";
import { createProduct, type Product } from "../support/product.ts";
import { untilAtRest } from "../support/queue-state.ts";
import { FLAWLESS } from "../support/verdict.ts";

const ACCOUNTS = 12;

const LOSSES = {
  "a whole row saved as it was loaded before the write-back":
    "update m_account set name = name || ' Baru', uuid_be = null",
  "tiers and PICs saved so": `
    update m_account_package_tier set amount = amount + 1, uuid_be = null;
    update m_account_pic set name = name || ' Baru', uuid_be = null;`,
  "an import that deletes and inserts the accounts": `
    begin;
    create temporary table kept_account on commit drop as select * from m_account;
    create temporary table kept_tier on commit drop as select * from m_account_package_tier;
    create temporary table kept_pic on commit drop as select * from m_account_pic;
    delete from m_account_pic;
    delete from m_account;
    update kept_account set uuid_be = null, name = name || ' Impor';
    update kept_tier set uuid_be = null;
    update kept_pic set uuid_be = null;
    insert into m_account select * from kept_account;
    insert into m_account_package_tier select * from kept_tier;
    insert into m_account_pic select * from kept_pic;
    commit;`,
  "one table restored to before its ids": `
    update m_account set uuid_be = null;
    select account_sync.request_all();`,
};

test.each(Object.entries(LOSSES))(
  "F41 %s: the ids are back, and no customer is made twice",
  async (_, sql) => {
    const product = await createProduct();
    const daemon = await product.start();
    await insertAll(product);

    await withClient(product.database.url, (client) => client.query(sql));
    const recoveryMs = await untilAtRest(product.database);

    const found = await audit(product.database, product.sandbox);
    expect(found).toEqual(FLAWLESS);
    expect(product.sandbox.counts().byOperation["create"]).toBe(ACCOUNTS);
    expect(await daemon.metric("ids_restored_total")).toBeGreaterThanOrEqual(ACCOUNTS);
    recordFault("F41", found, { tries: ACCOUNTS, recoveryMs });
  },
);

test("F47 accounts deleted while their creates are under way take their customers along", async () => {
  const product = await createProduct();
  await product.start({ ON_ACCOUNT_DELETE: "delete", CUSTOMER_API_TIMEOUT_MS: "20000" });
  product.sandbox.setFaults({ always: { delayMs: 60_000 } });
  for (let n = 0; n < ACCOUNTS; n += 1)
    await insertAccount(product.database, { accountNo: `A-${n}`, pics: 0 });
  await eventually(() => expect(product.sandbox.counts().inWork).toBe(ACCOUNTS), {
    timeoutMs: 20_000,
  });

  await product.database.query("delete from m_account");
  product.sandbox.clearFaults();
  const recoveryMs = await untilAtRest(product.database);

  expect(product.sandbox.customers()).toEqual([]);
  const found = await audit(product.database, product.sandbox);
  expect(found).toEqual(FLAWLESS);
  recordFault("F47", found, { tries: ACCOUNTS, recoveryMs });
});

test("F48 the database goes back to before the creates were journaled: the same creates have the same keys", async () => {
  const product = await createProduct();
  const before = await product.start();
  // Captured, and not sent yet: the API is away.
  product.sandbox.setFaults({ always: { status: 503 } });
  for (let n = 0; n < ACCOUNTS; n += 1)
    await insertAccount(product.database, { accountNo: `A-${n}` });
  await before.stop("a backup");
  await withSettledQueue(product.database);
  const restore = await backUp(product.database);
  product.sandbox.clearFaults();
  const between = await product.start();
  await untilAtRest(product.database);
  await between.stop("a restore");
  expect(product.sandbox.customers()).toHaveLength(ACCOUNTS);

  await restore();
  await product.start();
  const recoveryMs = await untilAtRest(product.database);

  const found = await audit(product.database, product.sandbox);
  expect(found).toEqual(FLAWLESS);
  expect(product.sandbox.customers()).toHaveLength(ACCOUNTS);
  recordFault("F48", found, { tries: ACCOUNTS, recoveryMs });
});

/** As if nothing had been tried: what a backup of an earlier second holds. */
async function withSettledQueue(database: TestDatabase): Promise<void> {
  await database.query("truncate account_sync.attempt");
  await database.query("delete from account_sync.account");
  await database.query("select account_sync.request_all()");
}

async function insertAll(product: Product): Promise<void> {
  for (let n = 0; n < ACCOUNTS; n += 1)
    await insertAccount(product.database, { accountNo: `A-${n}`, tiers: 2, pics: 2 });
  await untilAtRest(product.database);
}

/** Copies the database as it is now. Resolves with what puts the copy in its place. */
async function backUp({ name }: TestDatabase): Promise<() => Promise<void>> {
  const copy = `${name}_earlier`;
  const disconnect = "select pg_terminate_backend(pid) from pg_stat_activity where datname = $1";
  await withClient(serverUrl(), async (client) => {
    await client.query(disconnect, [name]);
    await client.query(`create database ${copy} template ${name}`);
  });
  return async () =>
    await withClient(serverUrl(), async (client) => {
      await client.query(`drop database ${name} with (force)`);
      await client.query(`alter database ${copy} rename to ${name}`);
    });
}
