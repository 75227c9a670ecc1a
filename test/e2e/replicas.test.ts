/** Two daemons on one database share the work; one of them answers each NOTIFY; a dead one's accounts are taken over. */
import { expect, test } from "vitest";
import { insertAccount, insertAccounts } from "../support/accounts.ts";
import { eventually } from "../support/eventually.ts";
import { createProduct } from "../support/product.ts";

test("two daemons share the work, and no account is in both", async () => {
  const product = await createProduct();
  const first = await product.start({ SYNC_CONCURRENCY: "4" });
  const second = await product.start({ SYNC_CONCURRENCY: "4" });
  product.sandbox.setFaults({ always: { delayMs: 20 } });

  await insertAccounts(product.database, 300);
  await eventually(
    async () => {
      const synced =
        (await first.metric("runs_total", { outcome: "synced" })) +
        (await second.metric("runs_total", { outcome: "synced" }));
      expect(synced).toBe(300);
    },
    { timeoutMs: 30_000 },
  );

  expect(product.sandbox.counts()).toMatchObject({
    overlapping: 0,
    byOperation: { create: 300, update: 0 },
  });
  expect(await first.metric("runs_total", { outcome: "synced" })).toBeGreaterThan(50);
  expect(await second.metric("runs_total", { outcome: "synced" })).toBeGreaterThan(50);
});

test("one NOTIFY heard by three daemons is one request", async () => {
  const product = await createProduct();
  const daemons = [await product.start(), await product.start(), await product.start()];
  const id = await insertAccount(product.database, { tiers: 1, pics: 0 });
  await eventually(() => expect(product.requests()).toHaveLength(1));

  await product.database.query("select pg_notify('account_sync', $1)", [id]);
  await eventually(() => expect(product.requests()).toHaveLength(2));
  // A second answer to the same notification would be under way by the time this later account is done.
  await insertAccount(product.database, { name: "later" });
  await eventually(() => expect(product.requests()).toHaveLength(3));
  await eventually(async () => expect(await daemons[0]?.metric("pending_accounts")).toBe(0));

  expect(product.requests().map((request) => request.method)).toEqual(["POST", "PUT", "POST"]);
});

test("two daemons that start together on an empty database both come up", async () => {
  const product = await createProduct();

  const daemons = await Promise.all([product.start(), product.start()]);
  await insertAccount(product.database);
  await eventually(() => expect(product.requests()).toHaveLength(1));

  for (const daemon of daemons) expect((await fetch(`${daemon.url}/readyz`)).status).toBe(200);
});
