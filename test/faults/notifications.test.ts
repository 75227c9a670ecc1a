/** F14 to F16: masses of notifications, none at all, and a full queue. Notifications are hints: only latency depends on them. */
import pg from "pg";
import { expect, test } from "vitest";
import { insertAccount } from "../support/accounts.ts";
import { startDaemonProcess } from "../support/daemon-process.ts";
import { eventually } from "../support/eventually.ts";
import { recordSpeed } from "../support/evidence.ts";
import { expectFlawless } from "../support/fault-end.ts";
import { startOwnPostgres } from "../support/own-postgres.ts";
import { type TestDatabase, withClient } from "../support/postgres.ts";
import { createProduct, type Product } from "../support/product.ts";
import { untilAtRest } from "../support/queue-state.ts";
import { startTcpProxy } from "../support/tcp-proxy.ts";

test.skipIf(process.platform !== "linux")(
  "F14 a hundred thousand notifications, repeated, garbled and as long as can be: work per account, invalid ones counted, memory flat",
  async () => {
    const product = await createProduct();
    // Small heaps, so that growth of resident memory is memory in use, not garbage that is not collected yet.
    const daemon = await startDaemonProcess(product, {
      NODE_OPTIONS: "--max-old-space-size=64 --max-semi-space-size=2",
    });
    const accounts = 20;
    for (let n = 0; n < accounts; n += 1)
      await insertAccount(product.database, { accountNo: `A-${n}`, tiers: 1, pics: 1 });
    await untilAtRest(product.database);
    const requestsBefore = product.requests().length;
    const ignoredBefore = await daemon.metric("notifications_ignored_total");
    const memory = { beforeMiB: daemon.residentMiB(), peakMiB: 0 };

    const bursts = 100;
    for (let burst = 0; burst < bursts; burst += 1) {
      await product.database.query(STORM, [burst]);
      memory.peakMiB = Math.max(memory.peakMiB, daemon.residentMiB());
    }
    const stormOverAt = performance.now();
    // Half of each burst is garbage.
    const garbage = bursts * 500;
    await eventually(
      async () =>
        expect((await daemon.metric("notifications_ignored_total")) - ignoredBefore).toBe(garbage),
      { timeoutMs: 30_000, intervalMs: 100 },
    );
    await insertAccount(product.database, { accountNo: "later" });
    await eventually(() => expect(requestsFor(product, "later")).toBe(1));
    const recoveryMs = performance.now() - stormOverAt;
    await untilAtRest(product.database);
    memory.peakMiB = Math.max(memory.peakMiB, daemon.residentMiB());

    const requests = product.requests().length - requestsBefore - 1;
    process.stdout.write(
      `100,000 notifications: ${requests} requests for ${accounts} accounts, ${JSON.stringify(memory)}\n`,
    );
    // Each was asked for thousands of times.
    for (let n = 0; n < accounts; n += 1)
      expect(requestsFor(product, `A-${n}`)).toBeGreaterThanOrEqual(2);
    expect(requests).toBeLessThan(accounts * 50);
    // The storm itself is 160 MB.
    expect(memory.peakMiB - memory.beforeMiB).toBeLessThan(60);
    await expectFlawless(product, "F14", { tries: 100_000, recoveryMs });
  },
);

test("F15 nothing is notified: every change is found by the sweep, within its interval", async () => {
  const product = await createProduct();
  await product.start({ SYNC_NOTIFY: "off", SYNC_SWEEP_INTERVAL_MS: String(SWEEP_MS) });

  const slowestMs = await slowestFound(product, 8);

  expect(slowestMs).toBeLessThan(FOUND_WITHIN_MS);
  await expectFlawless(product, "F15", { tries: 8, recoveryMs: slowestMs });
});

test("F15 notifications are swallowed on their way: the sweep finds every change, and the dead listener is noticed within ten seconds", async () => {
  const product = await createProduct();
  const proxy = await startTcpProxy(Number(new URL(product.database.url).port));
  const listenUrl = new URL(product.database.url);
  listenUrl.port = String(proxy.port);
  const daemon = await product.start({
    LISTEN_DATABASE_URL: listenUrl.href,
    SYNC_SWEEP_INTERVAL_MS: String(SWEEP_MS),
  });

  proxy.blackhole(true);
  const deafAt = performance.now();
  const noticed = eventually(
    async () => expect((await fetch(`${daemon.url}/readyz`)).status).toBe(503),
    { timeoutMs: 30_000 },
  ).then(() => performance.now() - deafAt);
  const slowestMs = await slowestFound(product, 8);
  const noticedMs = await noticed;
  proxy.cut();
  proxy.blackhole(false);
  const healedAt = performance.now();
  await eventually(async () => expect((await fetch(`${daemon.url}/readyz`)).status).toBe(200), {
    timeoutMs: 20_000,
  });
  recordSpeed({ what: "a dead listener noticed", ms: noticedMs, withinMs: 10_000 });
  recordSpeed({
    what: "listening again after the network is back",
    ms: performance.now() - healedAt,
    withinMs: 20_000,
  });

  expect(slowestMs).toBeLessThan(FOUND_WITHIN_MS);
  expect(noticedMs).toBeLessThan(10_000);
  await expectFlawless(product, "F15", { tries: 8, recoveryMs: slowestMs });
});

test("F16 the notification queue is half full, and then full: no commit of the application fails, and the sweep finds every change", async () => {
  // As small as it can be: 64 pages of 8 kB.
  const { database } = await startOwnPostgres({ settings: { max_notify_queue_pages: "64" } });
  const product = await createProduct({ on: database });
  const daemon = await product.start({ SYNC_SWEEP_INTERVAL_MS: String(SWEEP_MS) });
  const bell = await hearTheBell(database);
  await untilItRests(database);
  await insertAccount(database, { accountNo: "A-0" });
  await untilAtRest(product.database);
  await eventually(() => expect(bell.rung).toBeGreaterThan(0));

  // The queue is trimmed up to the slowest listener, and one in the middle of a transaction does not move.
  await withClient(database.url, async (slow) => {
    await slow.query("listen elsewhere");
    await slow.query("begin");
    await slow.query("select 1");

    while ((await queueUsage(database)) <= 0.5) await notifyElsewhere(database);
    bell.rung = 0;
    const halfFullMs = await slowestFound(product, 4, "half");
    expect(bell.rung).toBe(0);

    const overflow = await fillQueue(database);
    expect(overflow).toMatchObject({ code: "54000" });
    const fullMs = await slowestFound(product, 4, "full");
    await applicationWork(database);
    await untilAtRest(product.database);

    // Without the check of how full the queue is, the application's statement fails.
    const ring = await definitionOfRing(database);
    await database.query(
      "create or replace function account_sync.ring() returns void language sql volatile security definer as $$ select pg_notify('account_sync', '') $$",
    );
    await expect(insertAccount(database, { accountNo: "refused" })).rejects.toMatchObject({
      code: "54000",
    });
    await database.query(ring);
    expect(Math.max(halfFullMs, fullMs)).toBeLessThan(FOUND_WITHIN_MS);
    await slow.query("rollback");
  });

  const emptiedAt = performance.now();
  await eventually(async () => expect(await queueUsage(database)).toBeLessThan(0.5));
  await eventually(async () => expect(await daemon.metric("listener_up")).toBe(1), {
    timeoutMs: 20_000,
  });
  const recoveryMs = performance.now() - emptiedAt;
  await untilItRests(database);
  bell.rung = 0;
  await insertAccount(database, { accountNo: "A-9" });
  await eventually(() => expect(bell.rung).toBeGreaterThan(0));
  await bell.close();
  await expectFlawless(product, "F16", { tries: 1, recoveryMs });
});

/**
 * A thousand: 250 ids of accounts in spellings that differ, 250 requests in JSON, 300 times garbage, and 200 times as much text as a
 * notification holds. Every other burst repeats the one before.
 */
const STORM = `
  with account as (select id, row_number() over (order by id) as position from m_account)
  select pg_notify(
    'account_sync',
    case
      when n <= 250 then (select id from account where position = 1 + n % 20) || repeat(' ', n / 20)
      when n <= 500 then json_build_object('account_id', (select id from account where position = 1 + n % 20), 'user_id', 'u' || n)::text
      when n <= 650 then 'garbage ' || n || ' of burst ' || $1::int / 2
      when n <= 800 then '{"account_id": ' || n
      else rpad(n || ' x', 7999, 'y')
    end
  )
  from generate_series(1, 1000) n`;

const SWEEP_MS = 1_500;
/** The interval, the quiet period, and room for a machine that is busy with other tests. */
const FOUND_WITHIN_MS = SWEEP_MS + 1_000;

function requestsFor(product: Product, code: string): number {
  return product.requests().filter((request) => request.code === code).length;
}

/** Commits so many changes, one after the other, and resolves with the longest time one took to reach the API. */
async function slowestFound(product: Product, changes: number, name = "swept"): Promise<number> {
  let slowestMs = 0;
  for (let n = 0; n < changes; n += 1) {
    const committedAt = performance.now();
    await insertAccount(product.database, { accountNo: `${name}-${n}`, tiers: 1, pics: 1 });
    await eventually(() => expect(requestsFor(product, `${name}-${n}`)).toBe(1));
    slowestMs = Math.max(slowestMs, performance.now() - committedAt);
  }
  return slowestMs;
}

async function queueUsage(database: TestDatabase): Promise<number> {
  const [row] = await database.query<{ usage: number }>(
    "select pg_notification_queue_usage() as usage",
  );
  return row?.usage ?? 0;
}

async function notifyElsewhere(database: TestDatabase): Promise<void> {
  await database.query(
    "select pg_notify('elsewhere', rpad(gen_random_uuid()::text, 7000, 'x')) from generate_series(1, 2)",
  );
}

/** Notifies, as some other application might, until the server refuses. Resolves with its error. */
async function fillQueue(database: TestDatabase): Promise<unknown> {
  for (;;) {
    try {
      await notifyElsewhere(database);
    } catch (error) {
      // What is left has room for smaller ones.
      return await fillQueueUp(database, error);
    }
  }
}

async function fillQueueUp(database: TestDatabase, error: unknown): Promise<unknown> {
  try {
    for (;;) await database.query("notify elsewhere, 'x'");
  } catch {
    return error;
  }
}

/** What an application does to captured tables, commit by commit; rejects when one fails. */
async function applicationWork(database: TestDatabase): Promise<void> {
  for (let n = 0; n < 20; n += 1) {
    const id = await insertAccount(database, { accountNo: `work-${n}` });
    await database.query("update m_account set name = 'Renamed' where id = $1", [id]);
    await database.query("delete from m_account_pic where account_id = $1", [id]);
    await database.query("select account_sync.request($1::text)", [id]);
  }
}

async function definitionOfRing(database: TestDatabase): Promise<string> {
  const [row] = await database.query<{ definition: string }>(
    "select pg_get_functiondef('account_sync.ring()'::regprocedure) as definition",
  );
  return row?.definition ?? "";
}

/** An awake daemon looks at the tables by itself, and no trigger notifies. */
async function untilItRests(database: TestDatabase): Promise<void> {
  await eventually(async () => {
    const [doorbell] = await database.query<{ wanted: boolean }>(
      "select wanted_until > clock_timestamp() as wanted from account_sync.doorbell",
    );
    expect(doorbell?.wanted).toBe(true);
  });
}

/** Listens as a daemon does, and counts. */
async function hearTheBell(database: TestDatabase) {
  const client = new pg.Client({ connectionString: database.url });
  const bell = { rung: 0, close: () => client.end() };
  client.on("notification", () => {
    bell.rung += 1;
  });
  await client.connect();
  await client.query("listen account_sync");
  return bell;
}
