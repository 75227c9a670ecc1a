/** The library beside a daemon: many calls at once, and sessions killed under both. */

import { setTimeout as sleep } from "node:timers/promises";
import { beforeEach, expect, test } from "vitest";
import type { AccountSync } from "../../src/index.ts";
import { insertAccount } from "../support/accounts.ts";
import { audit, isAtRest } from "../support/audit.ts";
import { eventually } from "../support/eventually.ts";
import { accountDataOf, openLibrary } from "../support/library.ts";
import { withClient } from "../support/postgres.ts";
import { createProduct, type Product } from "../support/product.ts";
import { FLAWLESS } from "../support/verdict.ts";

let product: Product;

beforeEach(async () => {
  product = await createProduct({ database: { migrated: true } });
});

test("five hundred accounts are synced by both at once: no account in both, no id wrong", async () => {
  product.sandbox.setFaults({ always: { delayMs: 5 } });
  const library = await openLibrary(product, { concurrency: 8 });
  const ids: string[] = [];
  for (let n = 0; n < 500; n += 1)
    ids.push(
      await insertAccount(product.database, { accountNo: `A-${n}`, tiers: n % 3, pics: n % 2 }),
    );
  const loaded = await Promise.all(ids.map((id) => accountDataOf(product.database, id)));

  const [results] = await Promise.all([
    Promise.all(loaded.map((data) => library.syncCustomerToExternalApi(data))),
    product.start({ SYNC_BACKFILL_ON_START: "true" }),
  ]);
  await eventually(async () => expect(await isAtRest(product.database)).toBe(true), {
    timeoutMs: 60_000,
  });

  expect(results.filter(({ success }) => !success)).toEqual([]);
  const { byOperation, overlapping } = product.sandbox.counts();
  expect(overlapping).toBe(0);
  expect(byOperation.create).toBe(500);
  expect(product.sandbox.customers()).toHaveLength(500);
  expect(await audit(product.database, product.sandbox)).toEqual(FLAWLESS);
  process.stdout.write(
    `500 accounts by both: ${byOperation.create} creates, ${byOperation.update} updates, ${overlapping} overlapping\n`,
  );
}, 120_000);

test("two callers, a daemon and an application, while sessions are killed at random: nothing overlaps, nothing is lost, nobody is there twice", async () => {
  const { database, sandbox } = product;
  await product.start();
  sandbox.setFaults({ always: { delayMs: 20 } });
  const libraries = [await openLibrary(product), await openLibrary(product)];
  const ids: string[] = [];
  for (let n = 0; n < 30; n += 1)
    ids.push(await insertAccount(database, { accountNo: `A-${n}`, tiers: n % 3, pics: n % 2 }));
  const anyone = () => ids[Math.floor(Math.random() * ids.length)] ?? "";
  const until = performance.now() + 8_000;
  const again = async (work: () => Promise<unknown>, pauseMs: number) => {
    while (performance.now() < until) {
      await work();
      // Not waiting for anything: these come at any moment.
      await sleep(Math.random() * pauseMs);
    }
  };
  let succeeded = 0;
  const call = async ({ syncCustomerToExternalApi }: AccountSync) => {
    const data = await accountDataOf(database, anyone());
    const name = Math.random() < 0.3 ? `Toko ${Math.random()}` : (data.name ?? null);
    if ((await syncCustomerToExternalApi({ ...data, name })).success) succeeded += 1;
  };

  await Promise.all([
    ...libraries.flatMap((library) => [
      again(() => call(library), 1),
      again(() => call(library), 1),
    ]),
    again(
      () =>
        database.query("update m_account set name = $2 where id = $1", [
          anyone(),
          `Baru ${Math.random()}`,
        ]),
      100,
    ),
    again(() => database.query(KILL_TWO_SESSIONS), 400),
  ]);
  sandbox.clearFaults();
  await database.query("update m_account set email = 'end@example.com'");
  await eventually(async () => expect(await isAtRest(database)).toBe(true), {
    timeoutMs: 60_000,
  });

  expect(succeeded).toBeGreaterThan(0);
  expect(sandbox.counts()).toMatchObject({ overlapping: 0, byOperation: { create: 30 } });
  expect(await audit(database, sandbox)).toEqual(FLAWLESS);
}, 120_000);

test("a call whose account was locked for longer than a lease may be silent waits again, and ends", async () => {
  const { database } = product;
  const library = await openLibrary(product);
  const id = await insertAccount(database, { accountNo: "A-1", tiers: 1, pics: 0 });
  const data = await accountDataOf(database, id);
  await library.syncCustomerToExternalApi(data);

  const result = await withClient(database.url, async (client) => {
    await client.query("begin");
    await client.query("select from account_sync.account for update");
    const called = library.syncCustomerToExternalApi(data);
    // The silence after which another process may have the account is three seconds.
    await sleep(3_500);
    await client.query("commit");
    return await called;
  });

  expect(result).toMatchObject({ success: true });
  await library.close();
});

test("a library that is closed while it takes an account leaves no lease behind", async () => {
  const { database } = product;
  const library = await openLibrary(product);
  const id = await insertAccount(database, { accountNo: "A-1", tiers: 1, pics: 0 });
  const data = await accountDataOf(database, id);
  await library.syncCustomerToExternalApi(data);

  const result = await withClient(database.url, async (client) => {
    await client.query("begin");
    await client.query("select from account_sync.account for update");
    const called = library.syncCustomerToExternalApi(data);
    await eventually(async () => expect(await database.query(WAITING_FOR_A_LOCK)).toHaveLength(1));
    const closed = library.close();
    await client.query("commit");
    await closed;
    return await called;
  });

  expect(result).toMatchObject({ success: false, error: expect.stringContaining("closed") });
  expect(
    await database.query("select from account_sync.account where lease_token is not null"),
  ).toEqual([]);
});

const WAITING_FOR_A_LOCK =
  "select from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()";

/** Of the daemon or of the library. */
const KILL_TWO_SESSIONS = `
  select pg_terminate_backend(pid) from pg_stat_activity
  where datname = current_database() and application_name like 'account-sync%' order by random() limit 2`;
