/** The way to the database breaks and comes back; nothing is lost, and nobody has to restart anything. */
import { expect, test } from "vitest";
import { insertAccount } from "../support/accounts.ts";
import { eventually } from "../support/eventually.ts";
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
