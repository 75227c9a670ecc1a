/**
 * F43: bodies that the API answers with 500 for ever. They park with the choice, and corrected data go out: given up by a person, or, where
 * the API can be asked, by a lookup.
 */
import { expect, test } from "vitest";
import { insertAccount } from "../support/accounts.ts";
import { audit } from "../support/audit.ts";
import { eventually } from "../support/eventually.ts";
import { recordFault } from "../support/evidence.ts";
import { createProduct, type Product } from "../support/product.ts";
import { countStates, untilAtRest } from "../support/queue-state.ts";
import { FLAWLESS } from "../support/verdict.ts";

const POISON = "Toko Rusak";
const BAD = 3;
const GOOD = 20;

test.each(["park", "resend"])(
  "F43 creates that fail for ever, under %s: parked with the choice; given up, corrected data go out",
  async (policy) => {
    const product = await createPoisoned({ CUSTOMER_API_UNKNOWN_OUTCOME: policy });
    await insertBadAndGood(product);
    await untilStates(product, { parked: BAD, clean: GOOD });

    const parked = await product.database.query<{ id: string; error: string; explanation: string }>(
      "select account_id as id, error, explanation from account_sync.status where state = 'parked'",
    );
    await correct(product);
    for (const { id } of parked)
      await product.database.query("select account_sync.retry($1, discard => true)", [id]);
    const recoveryMs = await untilAtRest(product.database);

    for (const { id, error, explanation } of parked)
      for (const text of [error, explanation])
        expect(text).toContain(`account-sync retry ${id} --discard`);
    await expectAllArrived(product, BAD, recoveryMs);
  },
);

test("F43 creates that fail for ever, under lookup: corrected data go out by themselves", async () => {
  const product = await createPoisoned({
    CUSTOMER_API_UNKNOWN_OUTCOME: "lookup",
    CUSTOMER_API_LOOKUP_PATH: "/api/customer?code={account_no}",
  });
  await insertBadAndGood(product);
  await untilStates(product, { parked: BAD, clean: GOOD });

  await correct(product);
  const recoveryMs = await untilAtRest(product.database);

  await expectAllArrived(product, BAD, recoveryMs);
});

test("F43 updates that add a tier and fail for ever: parked, nothing goes round; given up, corrected data go out", async () => {
  const product = await createPoisoned({});
  await insertBadAndGood(product, "Toko Baik");
  await untilStates(product, { clean: BAD + GOOD });
  await product.database.query(
    `with bad as (update m_account set name = $1 where account_no like 'BAD-%' returning id)
     insert into m_account_package_tier (account_id, min_value, max_value, amount, start_date, end_date)
     select id, 900001, 900002, 5, '2026-01-01', '2026-12-31' from bad`,
    [POISON],
  );
  await untilStates(product, { parked: BAD, clean: GOOD });
  const before = product.requests().length;

  await correct(product);
  await product.database.query(
    "select account_sync.retry(account_id, discard => true) from account_sync.status where account_id in (select id::text from m_account where account_no like 'BAD-%')",
  );
  await untilAtRest(product.database);
  await product.database.query(
    "select account_sync.retry(account_id, discard => true) from account_sync.status where state = 'parked'",
  );
  const recoveryMs = await untilAtRest(product.database);

  // Five times each, and what followed.
  expect(before).toBe(BAD + GOOD + 5 * BAD);
  await expectAllArrived(product, BAD, recoveryMs);
});

async function createPoisoned(environment: Readonly<Record<string, string>>): Promise<Product> {
  const product = await createProduct();
  product.sandbox.setFaults({
    always: { containing: POISON, status: 500, body: { error: "Internal error" } },
  });
  await product.start(environment);
  return product;
}

async function insertBadAndGood(product: Product, name = POISON): Promise<void> {
  for (let n = 0; n < BAD; n += 1)
    await insertAccount(product.database, { accountNo: `BAD-${n}`, name });
  for (let n = 0; n < GOOD; n += 1)
    await insertAccount(product.database, { accountNo: `GOOD-${n}` });
}

async function correct({ database }: Product): Promise<void> {
  await database.query("update m_account set name = 'Toko Betul' where name = $1", [POISON]);
}

async function untilStates(
  { database }: Product,
  states: Readonly<Record<string, number>>,
): Promise<void> {
  await eventually(async () => expect(await countStates(database)).toEqual(states), {
    timeoutMs: 60_000,
  });
}

async function expectAllArrived(
  product: Product,
  tries: number,
  recoveryMs: number,
): Promise<void> {
  expect(await countStates(product.database)).toEqual({ clean: BAD + GOOD });
  const found = await audit(product.database, product.sandbox);
  expect(found).toEqual(FLAWLESS);
  recordFault("F43", found, { tries, recoveryMs });
}
