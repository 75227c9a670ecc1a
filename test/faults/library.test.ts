/** The library beside a daemon: many calls at once, sessions killed under both, and a database that is gone when the answer comes. */
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import type { AccountSync, ProcessingResult, SyncedResult } from "../../src/index.ts";
import { externalIds, insertAccount } from "../support/accounts.ts";
import { audit, isAtRest } from "../support/audit.ts";
import { eventually } from "../support/eventually.ts";
import { accountDataOf, openLibrary, settleByDaemon } from "../support/library.ts";
import { withClient } from "../support/postgres.ts";
import { createProduct, type Product } from "../support/product.ts";
import { stateOf } from "../support/queue-state.ts";
import { FLAWLESS } from "../support/verdict.ts";

let product: Product;

beforeEach(async () => {
  product = await createProduct({ database: { migrated: true } });
});

afterEach(() => {
  vi.unstubAllEnvs();
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

test("the database goes away after the API has answered: the result says that no id was written, and retryFailedUpdates writes all", async () => {
  vi.stubEnv("SYNC_LEASE_MS", "1000");
  const { syncCustomerToExternalApi, retryFailedUpdates } = await openLibrary(product);
  const id = await insertAccount(product.database, { tiers: 1, pics: 1 });
  const data = await accountDataOf(product.database, id);
  product.sandbox.setFaults({ next: [{ delayMs: 60_000 }] });
  const calling = syncCustomerToExternalApi(data);
  await eventually(() => expect(product.sandbox.counts().inWork).toBe(1));
  await product.database.query("alter table account_sync.attempt rename to away");
  product.sandbox.clearFaults();

  const result = (await calling) as SyncedResult;
  await product.database.query("alter table account_sync.away rename to attempt");
  const retried = await retryFailedUpdates(
    JSON.parse(JSON.stringify(result.processingResult)) as ProcessingResult,
    data,
  );

  expect(result).toMatchObject({
    success: true,
    response: { customer: { data: { id: expect.any(String) } } },
    processingResult: {
      success: false,
      error: expect.stringMatching(/^Database Error: /),
      updatedRecords: [],
      errors: [
        expect.stringMatching(/^Failed to update account UUID: /),
        expect.stringMatching(/^Failed to update tier UUID: /),
        expect.stringMatching(/^Failed to update crew UUID: /),
      ],
      summary: { totalUpdated: 0, totalErrors: 3 },
    },
  });
  expect(retried).toMatchObject({ success: true, summary: { totalUpdated: 3, totalErrors: 0 } });
  expect(await externalIds(product.database, id)).toMatchObject({
    account: expect.any(String),
    tiers: [expect.any(String)],
    pics: [expect.any(String)],
  });
  expect(product.requests()).toHaveLength(1);
}, 60_000);

test("a create that a daemon took for unanswered is clean once its caller has written the ids", async () => {
  vi.stubEnv("SYNC_LEASE_MS", "1000");
  const { syncCustomerToExternalApi, retryFailedUpdates } = await openLibrary(product);
  const id = await insertAccount(product.database, { tiers: 1, pics: 1 });
  const data = await accountDataOf(product.database, id);
  product.sandbox.setFaults({ next: [{ delayMs: 500 }] });
  const calling = syncCustomerToExternalApi(data);
  await eventually(() => expect(product.sandbox.counts().inWork).toBe(1));
  // The answer cannot be journaled.
  await product.database.query(
    `create function refuse() returns trigger language plpgsql as $$ begin raise exception 'no'; end $$`,
  );
  await product.database.query(
    "create trigger refuse before update on account_sync.attempt for each row execute function refuse()",
  );
  const { processingResult } = await calling;
  await product.database.query("drop trigger refuse on account_sync.attempt");
  await settleByDaemon(product);
  const before = await stateOf(product.database, id);

  const retried = await retryFailedUpdates(
    JSON.parse(JSON.stringify(processingResult)) as ProcessingResult,
    { id },
  );

  expect(processingResult).toMatchObject({
    error: expect.stringMatching(/^Database Error: .*P0001/),
    updatedRecords: [],
  });
  expect(before).toMatchObject({ state: "parked", error_class: "unknown_outcome" });
  expect(retried).toMatchObject({ success: true, summary: { totalUpdated: 3 } });
  expect(await stateOf(product.database, id)).toMatchObject({ state: "clean" });
  const [last] = await product.database.query(
    "select outcome from account_sync.history where account_id = $1 order by finished_at desc limit 1",
    [id],
  );
  expect(last).toEqual({ outcome: "synced" });
  await settleByDaemon(product);
  expect(product.requests()).toHaveLength(1);
}, 60_000);

const WAITING_FOR_A_LOCK =
  "select from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()";

/** Of the daemon or of the library. */
const KILL_TWO_SESSIONS = `
  select pg_terminate_backend(pid) from pg_stat_activity
  where datname = current_database() and application_name like 'account-sync%' order by random() limit 2`;
