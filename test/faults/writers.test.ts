/** F29 to F32: what applications do to their tables. Each change arrives, with no more requests than debounce and rate limit allow. */
import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";
import { expect, test } from "vitest";
import { insertAccount } from "../support/accounts.ts";
import { audit } from "../support/audit.ts";
import { eventually } from "../support/eventually.ts";
import { recordFault } from "../support/evidence.ts";
import { expectFlawless } from "../support/fault-end.ts";
import { type TestDatabase, withClient } from "../support/postgres.ts";
import { createProduct, type Product } from "../support/product.ts";
import { countStates, untilAtRest } from "../support/queue-state.ts";
import { FLAWLESS } from "../support/verdict.ts";

test("F29 a transaction that stays open holds up no other account, and its change is synced when it commits", async () => {
  const product = await createProduct();
  // So long that no regular sweep finds the late change.
  const settings = { SYNC_SWEEP_INTERVAL_MS: "60000" };
  const daemon = await product.start(settings);
  const soon = await insertAccount(product.database, { accountNo: "soon" });
  const late = await insertAccount(product.database, { accountNo: "late" });
  const lateToo = await insertAccount(product.database, { accountNo: "late too" });
  await untilAtRest(product.database);
  await daemon.stop("no daemon is to ask for notifications");
  await product.database.query("update account_sync.doorbell set wanted_until = '-infinity'");

  await withClient(product.database.url, async (open) => {
    // Written while no daemon wants the doorbell, so its commit notifies nothing.
    const brief = new pg.Client({ connectionString: product.database.url });
    await brief.connect();
    await brief.query("begin");
    await brief.query("update m_account set name = 'Soon' where id = $1", [soon]);
    await open.query("begin");
    await open.query("update m_account set name = 'Late' where id = $1", [late]);
    await product.start(settings);
    await eventually(async () => {
      const [bell] = await product.database.query(
        "select wanted_until > now() as wanted from account_sync.doorbell",
      );
      expect(bell?.["wanted"]).toBe(true);
    });
    // The daemon's turn to rest: one that ignored open transactions would now not look for ten seconds, and that shows in no fact.
    await sleep(800);
    // A daemon that goes to rest beside open transactions looks often at first, and more rarely the longer they stay open.
    await brief.query("commit");
    await brief.end();
    const briefAt = performance.now();
    await eventually(() => expect(requestsFor(product, "soon")).toBe(2), { intervalMs: 5 });
    const briefMs = performance.now() - briefAt;
    process.stdout.write(`a change that is soon committed: ${Math.round(briefMs)} ms\n`);
    expect(briefMs).toBeLessThan(4_000);
    await withClient(product.database.url, async (rung) => {
      await rung.query("begin");
      await rung.query("update m_account set name = 'Late too' where id = $1", [lateToo]);
      for (let n = 0; n < 60; n += 1) {
        await insertAccount(product.database, { accountNo: `A-${n}`, tiers: 1, pics: 0 });
        await eventually(() => expect(requestsFor(product, `A-${n}`)).toBe(1), {
          intervalMs: 5,
        });
      }
      expect(requestsFor(product, "late")).toBe(1);

      const rungAt = performance.now();
      await rung.query("commit");
      await eventually(() => expect(requestsFor(product, "late too")).toBe(2), { intervalMs: 5 });
      const rungMs = performance.now() - rungAt;
      process.stdout.write(`a late change that rings: ${Math.round(rungMs)} ms\n`);
      expect(rungMs).toBeLessThan(2_000);
    });

    const committedAt = performance.now();
    await open.query("commit");
    // Every ten seconds at the least.
    await eventually(() => expect(requestsFor(product, "late")).toBe(2), { timeoutMs: 12_000 });
    const recoveryMs = performance.now() - committedAt;
    process.stdout.write(`a late change that rings no doorbell: ${Math.round(recoveryMs)} ms\n`);
    await expectFlawless(product, "F29", { tries: 3, recoveryMs });
  });
});

test("F30 whatever undoes a change, nothing of it is sent", async () => {
  const product = await createProduct();
  await product.start();
  const id = await insertAccount(product.database, { accountNo: "A-1", name: "As it is" });
  await product.database.query(
    "alter table m_account add constraint named_in_the_end check (name <> '') not valid",
  );
  await untilAtRest(product.database);
  const before = product.requests().length;
  const edit = "update m_account set name = 'Never' where account_no = 'A-1'";
  const rounds = 10;

  for (let round = 0; round < rounds; round += 1) {
    await withClient(product.database.url, async (client) => {
      await client.query(`begin; ${edit}; insert into m_account (name) values ('Never'); rollback`);
      await client.query(`begin; savepoint a; ${edit}; rollback to savepoint a; commit`);
      await expect(
        client.query(`begin; ${edit}; update m_account set name = '' where account_no = 'A-1'`),
      ).rejects.toMatchObject({ code: "23514" });
      await client.query("rollback");
      // A transaction that has notified cannot be prepared.
      await client.query(`begin; ${edit}; prepare transaction 'never'`).then(
        () => client.query("rollback prepared 'never'"),
        () => client.query("rollback"),
      );
    });
    await abandon(product.database, edit);
  }
  // Anything captured by mistake would have been sent before this one, as it was captured earlier.
  await insertAccount(product.database, { accountNo: "later", tiers: 1, pics: 0 });
  await eventually(() => expect(requestsFor(product, "later")).toBe(1));
  await untilAtRest(product.database);

  expect(product.requests().length - before).toBe(1);
  const [row] = await product.database.query("select name from m_account where id = $1", [id]);
  expect(row?.["name"]).toBe("As it is");
  await expectFlawless(product, "F30", { tries: rounds * 5, recoveryMs: null });
});

test("F31 COPY of 100,000 accounts: all are captured at once and sent no faster than the limit", async () => {
  const product = await createProduct();
  const rps = 40;
  const daemon = await product.start({ CUSTOMER_API_MAX_RPS: String(rps) });
  const total = 100_000;

  const copiedAt = performance.now();
  await product.database.query(
    `copy m_account (account_no, name, phone_no, email) from program 'seq -f "C-%.0f,Toko,081234567890,toko@example.com" ${total}' (format csv)`,
  );
  const copyMs = performance.now() - copiedAt;
  await eventually(async () => expect(await daemon.metric("changes_total")).toBe(total), {
    timeoutMs: 60_000,
    intervalMs: 100,
  });
  const foldedMs = performance.now() - copiedAt;
  // A manual request has a lane of its own, so the copied accounts do not hold it up.
  const [edited] = await product.database.query<{ id: string }>(
    "insert into m_account (account_no, name, phone_no, email) values ('urgent', 'Toko', '081234567890', 'toko@example.com') returning id",
  );
  await product.database.query("select account_sync.request($1::text)", [edited?.id]);
  await eventually(() => expect(requestsFor(product, "urgent")).toBeGreaterThan(0));
  await eventually(() => expect(product.requests().length).toBeGreaterThan(200), {
    timeoutMs: 30_000,
    intervalMs: 100,
  });
  await daemon.stop("enough has been seen");

  const times = product.requests().map((request) => request.receivedAt);
  const [row] = await product.database.query<{ known: number; lost: number }>(
    `select count(*)::int as known, (count(*) filter (where s.state is null))::int as lost
     from m_account a left join account_sync.status s on s.account_id = a.id::text`,
  );
  process.stdout.write(
    `COPY of ${total} accounts: ${Math.round(copyMs)} ms, folded after ${Math.round(foldedMs)} ms, at most ${mostWithin(times, 1_000)} requests in a second\n`,
  );
  // Late requests of a quarter of a second may come together with the others (see test/e2e/pace.test.ts).
  expect(mostWithin(times, 1_000)).toBeLessThanOrEqual(rps * 1.25);
  expect(row?.known).toBe(total + 1);
  expect(row?.lost).toBe(0);
  expect(product.sandbox.counts().overlapping).toBe(0);
  // What the daemon could not give back on a busy machine is free when its lease has run out.
  await eventually(async () =>
    expect(await countStates(product.database)).not.toHaveProperty("running"),
  );
  const left = "the daemon was stopped long before their turn";
  const found = await audit(product.database, product.sandbox, [
    { accounts: () => true, are: "waiting", because: left },
    { accounts: () => true, are: "due", because: left },
    // A send that failed on a busy machine has its next turn behind all that were copied.
    { accounts: () => true, are: "retrying", because: left },
  ]);
  const delivered = product.sandbox.customers().length;
  expect(found).toEqual({ ...FLAWLESS, explained: expect.anything() });
  expect(Object.values(found.explained).reduce((sum, count) => sum + count)).toBe(
    total + 1 - delivered,
  );
  recordFault("F31", found, { tries: total, recoveryMs: null });
});

test("F31 MERGE, upsert, cascade, TRUNCATE, DML at a partition, and a restore without search_path: one request per account and burst", async () => {
  const product = await createProduct();
  const { database } = product;
  // PICs in partitions, as a big installation may have them.
  await database.query(PARTITIONED_PICS);
  await product.start();
  const accounts = 40;
  await database.query(
    `with account as (
       insert into m_account (account_no, name, phone_no, email)
       select 'A-' || n, 'Toko', '081234567890', 'toko@example.com' from generate_series(1, $1) n returning id
     )
     insert into m_account_package_tier (account_id, min_value, max_value, amount, start_date, end_date)
     select id, 0, 10, 1, '2026-01-01', '2026-12-31' from account`,
    [accounts],
  );
  await untilAtRest(product.database);
  let expected = accounts;
  expect(product.requests()).toHaveLength(expected);

  const bursts = [
    "merge into m_account a using generate_series(1, 40) n on a.account_no = 'A-' || n when matched then update set email = 'merged@example.com'",
    `insert into m_account (id, account_no, name, phone_no, email) select id, account_no, name, phone_no, 'upsert@example.com' from m_account
     on conflict (id) do update set email = excluded.email`,
    "insert into m_account_pic (account_id, name, phone_no, email) select id, 'Budi', '081211112222', 'budi@example.com' from m_account",
    "update pic_one set phone_no = '081233334444'; update pic_two set phone_no = '081233334444'",
    `set search_path = ''; set row_security = off;
     create temporary table dump as select * from public.m_account_package_tier; delete from public.m_account_package_tier;
     update dump set amount = 2; insert into public.m_account_package_tier select * from dump; drop table dump; reset search_path; reset row_security`,
    "truncate m_account_package_tier",
  ];
  for (const burst of bursts) {
    await withClient(database.url, (client) => client.query(burst));
    expected += accounts;
    await eventually(() => expect(product.requests().length).toBeGreaterThanOrEqual(expected), {
      timeoutMs: 30_000,
    });
    await untilAtRest(product.database);
    expect(product.requests(), burst).toHaveLength(expected);
    expect(await audit(database, product.sandbox)).toEqual(FLAWLESS);
  }

  await database.query("delete from m_account_pic");
  await untilAtRest(product.database);
  expected += accounts;
  await database.query("delete from m_account where account_no in ('A-1', 'A-2', 'A-3')");
  await untilAtRest(product.database);
  expect(product.requests()).toHaveLength(expected);
  const because = "ON_ACCOUNT_DELETE is ignore, so the customer of a deleted account stays";
  const found = await audit(database, product.sandbox, [
    { accounts: ["A-1", "A-2", "A-3"], are: "removed", because },
  ]);
  expect(found).toEqual({ ...FLAWLESS, explained: { [`removed: ${because}`]: 3 } });
  recordFault("F31", found, { tries: bursts.length + 2, recoveryMs: null });
});

test("F32 an edit every 100 ms without a pause: a sync at least every max wait", async () => {
  const product = await createProduct();
  const maxWaitMs = 1_500;
  await product.start({ SYNC_QUIET_PERIOD_MS: "1000", SYNC_MAX_WAIT_MS: String(maxWaitMs) });
  await insertAccount(product.database, { accountNo: "A-1", tiers: 1, pics: 0 });
  await untilAtRest(product.database);
  const before = product.requests().length;

  const startedAt = performance.now();
  for (let edit = 0; edit < 150; edit += 1) {
    await product.database.query("update m_account set name = $1 where account_no = 'A-1'", [
      `Edit ${edit}`,
    ]);
    // The application's own pace.
    await sleep(100);
  }
  const lastedMs = performance.now() - startedAt;
  await untilAtRest(product.database);

  const times = product
    .requests()
    .slice(before)
    .map((request) => request.receivedAt);
  const gaps = [startedAt, ...times].map((time, n, all) => (all[n + 1] ?? time) - time);
  process.stdout.write(
    `an edit every 100 ms for ${Math.round(lastedMs)} ms: ${times.length} requests, ${Math.round(Math.max(...gaps))} ms apart at the most\n`,
  );
  // The max wait counts from the first edit that is not in the last request; what a request takes comes on top.
  expect(Math.max(...gaps)).toBeLessThan(maxWaitMs + 1_500);
  expect(times.length).toBeLessThanOrEqual(Math.ceil(lastedMs / maxWaitMs) + 1);
  await expectFlawless(product, "F32", { tries: 150, recoveryMs: null });
});

/** In the place of the plain table, with the same columns. */
const PARTITIONED_PICS = `
  create table pic_in_parts (like m_account_pic including defaults) partition by hash (id);
  alter table pic_in_parts add primary key (id), add foreign key (account_id) references m_account (id);
  drop table m_account_pic;
  alter table pic_in_parts rename to m_account_pic;
  create table pic_one partition of m_account_pic for values with (modulus 2, remainder 0);
  create table pic_two partition of m_account_pic for values with (modulus 2, remainder 1)`;

function requestsFor(product: Product, code: string): number {
  return product.requests().filter((request) => request.code === code).length;
}

/** A session that is terminated in the middle of its transaction. */
async function abandon(database: TestDatabase, statement: string): Promise<void> {
  await withClient(database.url, async (client) => {
    await client.query("begin");
    await client.query(statement);
    const [row] = (await client.query<{ pid: number }>("select pg_backend_pid() as pid")).rows;
    await database.query("select pg_terminate_backend($1, 5000)", [row?.pid]);
  }).catch(() => {});
}

function mostWithin(times: readonly number[], windowMs: number): number {
  return Math.max(
    ...times.map(
      (start) => times.filter((time) => time >= start && time < start + windowMs).length,
    ),
  );
}
