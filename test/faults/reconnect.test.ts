/** The way to the database breaks and comes back: nothing is lost, and nothing has to be restarted. */
import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { Listener } from "../../src/capture/listener.ts";
import type { Notification } from "../../src/capture/notification.ts";
import type { Observe } from "../../src/ops/observe.ts";
import { insertAccount } from "../support/accounts.ts";
import { eventually } from "../support/eventually.ts";
import { createDatabase } from "../support/postgres.ts";
import { createProduct, type Product, type RunningDaemon } from "../support/product.ts";
import { startTcpProxy } from "../support/tcp-proxy.ts";

test("a terminated listener is back, and a change made in the gap is synced", async () => {
  const product = await createProduct();
  const daemon = await product.start({ SYNC_SWEEP_INTERVAL_MS: "60000" });

  await terminate(product, "application_name like 'account-sync % listener'");
  await insertAccount(product.database);

  await eventually(() => expect(product.requests()).toHaveLength(1));
  await eventually(async () => expect(await daemon.metric("listener_up")).toBe(1));
  expect(await daemon.metric("listener_reconnects_total")).toBeGreaterThanOrEqual(1);
});

test("every backend of ours is terminated again and again while accounts are synced", async () => {
  const product = await createProduct();
  const daemon = await product.start();
  product.sandbox.setFaults({ always: { delayMs: 30 } });

  for (let round = 0; round < 10; round += 1) {
    await insertAccount(product.database, { accountNo: `A-${round}`, tiers: 1, pics: 1 });
    await terminate(product, "application_name like 'account-sync %'");
  }
  await allSynced(product, 10, daemon);

  expect(product.sandbox.counts().byOperation.create).toBe(10);
  expect(product.sandbox.counts().overlapping).toBe(0);
});

test("a way to the database that swallows everything is noticed, and left behind when it ends", async () => {
  const product = await createProduct();
  const proxy = await startTcpProxy(Number(new URL(product.database.url).port));
  const url = new URL(product.database.url);
  url.port = String(proxy.port);
  const daemon = await product.start({ DATABASE_URL: url.href });

  proxy.blackhole(true);
  await insertAccount(product.database);
  await eventually(async () => expect(await daemon.metric("listener_up")).toBe(0), {
    timeoutMs: 15_000,
  });
  proxy.cut();
  proxy.blackhole(false);

  await allSynced(product, 1, daemon);
  await eventually(async () => expect(await daemon.metric("listener_up")).toBe(1), {
    timeoutMs: 15_000,
  });
  await proxy.close();
});

test("after a database that refused for longer than a round trip there is one listener, and none after the stop", async () => {
  const product = await createProduct();
  const proxy = await startTcpProxy(Number(new URL(product.database.url).port));
  const url = new URL(product.database.url);
  url.port = String(proxy.port);
  const daemon = await product.start({ DATABASE_URL: url.href });

  await proxy.refuse();
  proxy.cut();
  // A round trip counts as lost within ten seconds (see listener.ts); from then on the listener is replaced, without success.
  await sleep(11_000);
  await proxy.accept();
  await eventually(async () => expect(await daemon.metric("listener_up")).toBe(1), {
    timeoutMs: 15_000,
  });
  // Nothing can be awaited here either: a second one would have made its connection by then, as it tries every two seconds.
  await sleep(3_000);
  const listening = await listeners(product);
  await daemon.stop("the test is over");

  expect(listening).toBe(1);
  await eventually(async () => expect(await listeners(product)).toBe(0));
  await proxy.close();
});

test("a listener that is stopped while the database refuses does not come back with it", async () => {
  const product = await createProduct();
  const proxy = await startTcpProxy(Number(new URL(product.database.url).port));
  const url = new URL(product.database.url);
  url.port = String(proxy.port);
  const { listener, observed } = listenOn(url.href, async () => {});
  await listener.start();

  await proxy.refuse();
  proxy.cut();
  await eventually(() => expect(observed).toContain("listenerReconnected"));
  await listener.close();
  await proxy.accept();
  // Nothing can be awaited, as nothing must happen: the longest pause between two tries is two seconds.
  await sleep(2_500);

  expect(await listeners(product)).toBe(0);
  await proxy.close();
});

test("one request that the database refuses is dropped and counted; the others are recorded, a thousand at a time", async () => {
  const database = await createDatabase();
  const recorded = new Set<string>();
  const sizes: number[] = [];
  let outages = 1;
  const { listener, ignored } = listenOn(database.url, async (notifications) => {
    sizes.push(notifications.length);
    if (outages > 0) {
      outages -= 1;
      throw Object.assign(new Error("x"), { code: "57P03" });
    }
    if (notifications.some(({ payload }) => payload === "poison"))
      throw Object.assign(new Error("x"), { code: "22P05" });
    for (const { payload } of notifications) recorded.add(payload);
  });
  await listener.start();

  await database.query(
    "select pg_notify('account_sync', case n when 700 then 'poison' else n::text end) from generate_series(1, 2500) n",
  );
  await eventually(() => expect(recorded.size).toBe(2_499));
  await listener.close();

  expect(ignored).toEqual([{ reason: "the database refuses the request (22P05)", length: 6 }]);
  expect(Math.max(...sizes)).toBe(1_000);
});

function listenOn(url: string, onRequests: (requests: readonly Notification[]) => Promise<void>) {
  const observed: string[] = [];
  const ignored: unknown[] = [];
  const observe = new Proxy({} as Observe, {
    get: (_, name) => (said: unknown) => {
      observed.push(String(name));
      if (name === "notificationIgnored") ignored.push(said);
    },
  });
  const listener = new Listener({
    connection: { connectionString: url, application_name: "account-sync test listener" },
    observe,
    isPossibleId: () => true,
    onWake: () => {},
    onRequests,
  });
  return { listener, observed, ignored };
}

async function listeners(product: Product): Promise<number> {
  const [row] = await product.database.query(
    "select count(*)::int as sessions from pg_stat_activity where datname = current_database() and application_name like '%listener'",
  );
  return Number(row?.["sessions"]);
}

async function allSynced(product: Product, count: number, daemon: RunningDaemon): Promise<void> {
  await eventually(
    async () => {
      const [row] = await product.database.query(
        "select count(*)::int as ids from m_account where uuid_be is not null",
      );
      expect(row?.["ids"]).toBe(count);
      expect(await daemon.metric("pending_accounts")).toBe(0);
    },
    { timeoutMs: 40_000, intervalMs: 100 },
  );
}

async function terminate(product: Product, condition: string): Promise<void> {
  await product.database.query(
    `select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and ${condition}`,
  );
}
