/** The judge of the fault tests, on a real database and API: it finds each kind of harm, and none where none was done. */
import { beforeEach, expect, test } from "vitest";
import { insertAccount } from "../support/accounts.ts";
import { audit, hiddenAccounts, isAtRest } from "../support/audit.ts";
import { eventually } from "../support/eventually.ts";
import { createProduct, type Product } from "../support/product.ts";
import { FLAWLESS } from "../support/verdict.ts";

let product: Product;
let id: string;

beforeEach(async () => {
  product = await createProduct();
  const daemon = await product.start();
  id = await insertAccount(product.database);
  await eventually(async () => expect(await isAtRest(product.database)).toBe(true));
  // What is done to the rows below is not captured.
  await daemon.stop("the account is synced");
});

test("sees nothing wrong where nothing is", async () => {
  expect(await judge()).toEqual(FLAWLESS);
});

test.each([
  ["lost", "update m_account set name = 'Never sent' where id = $1", "account A-1 (clean)"],
  [
    "lost",
    "update m_account_package_tier set amount = 9 where account_id = $1 and min_value = 0",
    "account A-1 (clean)",
  ],
  ["wrongIds", "update m_account set uuid_be = 'made-up' where id = $1", "account A-1"],
  [
    "lost",
    "insert into m_account_address (account_id, city) values ($1, 'Nowhere')",
    "account A-1 (clean)",
  ],
  [
    "lost",
    "insert into m_account_bank (account_id, bank_account_no, bank_account_holder_name) values ($1, '1', 'Budi Uji')",
    "account A-1 (clean)",
  ],
  [
    "lost",
    "with t as (insert into m_account_type (name) values ('child') returning id) update m_account a set account_type_id = t.id from t where a.id = $1",
    "account A-1 (clean)",
  ],
  [
    "lost",
    `with p as (insert into m_account (name, uuid_be) values ('Parent', 'p') returning id) update m_account a set "parentId" = p.id from p where a.id = $1`,
    "account A-1 (clean)",
  ],
  [
    "lost",
    "with b as (insert into m_account_billing_method (method) values ('Auto Deduct') returning id) update m_account_package_tier t set billing_method_id = b.id from b where t.account_id = $1",
    "account A-1 (clean)",
  ],
  [
    "lost",
    "update m_account_pic set phone_no = '0811' where account_id = $1",
    "account A-1 (clean)",
  ],
  [
    "wrongIds",
    "update m_account_pic p set uuid_be = o.uuid_be from m_account_pic o where p.account_id = $1 and o.account_id = $1 and o.id <> p.id",
    "account A-1, row Budi Uji 1",
  ],
  ["lostIds", "update m_account set uuid_be = null where id = $1", "account A-1"],
  [
    "lostIds",
    "update m_account_package_tier set uuid_be = null where account_id = $1 and min_value = 0",
    "account A-1, row 0",
  ],
] as const)("%s: %s", async (harm, sql, where) => {
  await withoutTriggers(sql);

  expect((await judge())[harm]).toContain(where);
});

test("what differs and looks clean is hidden; what is noted, or waits, is not", async () => {
  await withoutTriggers("update m_account set name = 'Never sent' where id = $1");
  expect(await hiddenAccounts(product.database, product.sandbox)).toEqual(["A-1"]);

  await product.database.query("update m_account set email = 'new@example.com'");
  expect(await hiddenAccounts(product.database, product.sandbox)).toEqual([]);
});

test("what is parked is not lost, and is an error where no fault explains it", async () => {
  await withoutTriggers("update m_account set name = 'Refused' where id = $1");
  await product.database.query(
    "update account_sync.account set changed_at = now(), parked_at = now(), error_class = 'rejected', error = 'answered 422'",
  );

  expect(await judge()).toEqual({
    ...FLAWLESS,
    unexplained: ["account A-1 is parked (rejected): answered 422"],
  });
  expect(
    await audit(product.database, product.sandbox, [
      { accounts: ["A-1"], are: "parked", errorClass: "rejected", because: "refused" },
    ]),
  ).toEqual({ ...FLAWLESS, explained: { "parked: refused": 1 } });
});

test("an account that was removed is seen by its customer, and by what the queue still has to do", async () => {
  await withoutTriggers("delete from m_account_package_tier where account_id = $1");
  await withoutTriggers("delete from m_account_pic where account_id = $1");
  await withoutTriggers("delete from m_account where id = $1");

  expect(await judge()).toEqual({ ...FLAWLESS, strays: ["A-1"] });
  await product.database.query(
    "update account_sync.account set changed_at = now(), due_at = now()",
  );
  expect(await judge()).toEqual({ ...FLAWLESS, lost: [`account ${id} (due)`], strays: ["A-1"] });
});

test("a second customer of one account is a twin", async () => {
  const [customer] = product.sandbox.customers();
  await fetch(`${product.sandbox.url}/api/customer/command`, {
    method: "POST",
    headers: { authorization: `Bearer ${product.sandbox.staticToken}` },
    body: JSON.stringify(customer?.command),
  });

  expect((await judge()).twins).toEqual(["A-1"]);
});

async function judge() {
  return await audit(product.database, product.sandbox);
}

async function withoutTriggers(sql: string): Promise<void> {
  const client = await product.database.pool.connect();
  try {
    await client.query("set session_replication_role = replica");
    await client.query(sql, [id]);
  } finally {
    client.release(true);
  }
}
