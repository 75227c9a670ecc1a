/** F42: two APIs that have given out the same ids. No update reaches a customer of another account, whatever is asked for. */
import { afterEach, expect, test } from "vitest";
import { insertAccount } from "../support/accounts.ts";
import { type ApiPair, configureOther, OTHER_CONFIG, startApiPair } from "../support/api-pair.ts";
import { audit } from "../support/audit.ts";
import { recordFault } from "../support/evidence.ts";
import { apiEnvironment, createProduct, type Product } from "../support/product.ts";
import { countStates, untilAtRest } from "../support/queue-state.ts";
import { FLAWLESS } from "../support/verdict.ts";

const ACCOUNTS = 10;

let apis: ApiPair | null = null;

afterEach(async () => {
  await apis?.close();
});

const ACTS: Readonly<Record<string, (product: Product) => Promise<unknown>>> = {
  "ordinary edits": ({ database }) => database.query("update m_account set name = name || ' Baru'"),
  "edits that put null over the ids": ({ database }) =>
    database.query("update m_account set name = name || ' Baru', uuid_be = null"),
  "requests that name the other configuration, and edits beside them": async ({ database }) => {
    await database.query("select account_sync.request(id, config_id => $1) from m_account", [
      OTHER_CONFIG,
    ]);
    await database.query("update m_account set name = name || ' Baru'");
  },
  "a request for all accounts": ({ database }) =>
    database.query("select account_sync.request_all()"),
  "contact persons that change": ({ database }) =>
    database.query("update m_account_pic set name = name || ' Baru'"),
};

test.each(Object.entries(ACTS))(
  "F42 %s: each account stays with the API that gave it its id",
  async (_, act) => {
    const { product, pair } = await createTwo();

    await act(product);
    const recoveryMs = await untilAtRest(product.database);

    const found = await audit(product.database, pair);
    expect(found).toEqual(FLAWLESS);
    expect(await countStates(product.database)).toEqual({ clean: 2 * ACCOUNTS });
    expect(pair.default.customers()).toHaveLength(ACCOUNTS);
    expect(pair.other.customers()).toHaveLength(ACCOUNTS);
    recordFault("F42", found, { tries: 2 * ACCOUNTS, recoveryMs });
  },
);

/** Half of the accounts at either API; the ids are the same. */
async function createTwo(): Promise<{ product: Product; pair: ApiPair }> {
  const product = await createProduct();
  const pair = await startApiPair({});
  apis = pair;
  await configureOther(product.database, pair);
  await product.start(apiEnvironment(pair.default));

  for (let n = 0; n < ACCOUNTS; n += 1) {
    await insertAccount(product.database, { accountNo: `A-${n}`, tiers: 1, pics: 1 });
  }
  await untilAtRest(product.database);
  for (let n = 0; n < ACCOUNTS; n += 1) await insertForOther(product, `B-${n}`);
  await untilAtRest(product.database);
  const idsOf = (api: ApiPair["default"]) =>
    api
      .customers()
      .map(({ id }) => id)
      .sort();
  expect(idsOf(pair.other)).toEqual(idsOf(pair.default));
  return { product, pair };
}

/** Inserted and asked for in one transaction: a change alone would send it by default. */
async function insertForOther({ database }: Product, accountNo: string): Promise<void> {
  await database.query(
    `with account as (
       insert into m_account (account_no, name, phone_no, email)
       values ($1::text, 'Toko ' || $1::text, '081234567890', 'toko@example.com')
       returning id
     ),
     tier as (
       insert into m_account_package_tier (account_id, min_value, max_value, amount, start_date, end_date)
       select id, 1000, 1999, 5, '2026-01-01', '2026-12-31' from account
     ),
     pic as (
       insert into m_account_pic (account_id, name, phone_no, email, username)
       select id, 'Budi ' || $1::text, '081234567891', '', 'budi' || $1::text from account
     )
     select account_sync.request(id, config_id => $2) from account`,
    [accountNo, OTHER_CONFIG],
  );
}
