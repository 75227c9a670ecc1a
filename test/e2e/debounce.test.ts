/** Many changes become few requests, and each account's last state is what arrives. */
import { expect, test } from "vitest";
import { insertAccount, insertAccounts } from "../support/accounts.ts";
import { eventually } from "../support/eventually.ts";
import { createProduct } from "../support/product.ts";

test("200 edits of one account in three seconds cause at most one request per max wait", async () => {
  const product = await createProduct();
  const daemon = await product.start({ SYNC_QUIET_PERIOD_MS: "200", SYNC_MAX_WAIT_MS: "1000" });
  const id = await insertAccount(product.database, { tiers: 0, pics: 0 });
  await eventually(() => expect(product.requests()).toHaveLength(1));

  const startedAt = performance.now();
  for (let edit = 1; edit <= 200; edit += 1) {
    await product.database.query("update m_account set name = $2 where id = $1", [
      id,
      `Toko ${edit}`,
    ]);
    // The pace is the point: a quiet period never comes.
    await new Promise((resolve) =>
      setTimeout(resolve, Math.max(0, startedAt + edit * 15 - performance.now())),
    );
  }
  const editedForMs = performance.now() - startedAt;
  await eventually(() => expect(nameIn(product.requests().at(-1)?.body)).toBe("Toko 200"));
  await eventually(async () => expect(await daemon.metric("pending_accounts")).toBe(0));

  const updates = product.requests().length - 1;
  expect(updates).toBeGreaterThanOrEqual(2);
  expect(updates).toBeLessThanOrEqual(Math.ceil(editedForMs / 1000) + 1);
});

test("one statement that changes 5,000 accounts causes exactly 5,000 requests", async () => {
  const product = await createProduct();
  await insertAccounts(product.database, 5_000);
  const daemon = await product.start({ LOG_LEVEL: "warn" });
  await product.database.query("update m_account set brand_name = 'not sent'");

  await product.database.query("update m_account set email = 'new@example.com'");
  await eventually(
    async () => expect(await daemon.metric("runs_total", { outcome: "synced" })).toBe(5_000),
    { timeoutMs: 50_000, intervalMs: 200 },
  );
  await eventually(async () => expect(await daemon.metric("pending_accounts")).toBe(0));

  expect(product.sandbox.counts().byOperation.create).toBe(5_000);
  const [row] = await product.database.query(
    "select count(distinct uuid_be)::int as ids from m_account",
  );
  expect(row?.["ids"]).toBe(5_000);
}, 90_000);

test("a transaction that is rolled back sends nothing", async () => {
  const product = await createProduct();
  const daemon = await product.start();

  const client = await product.database.pool.connect();
  await client.query("begin");
  await client.query("insert into m_account (name) values ('never')");
  await client.query("rollback");
  client.release();
  await insertAccount(product.database, { name: "after it" });
  await eventually(async () =>
    expect(await daemon.metric("runs_total", { outcome: "synced" })).toBe(1),
  );

  expect(product.requests().map((request) => nameIn(request.body))).toEqual(["after it"]);
});

test("an edit during a request is sent by a second one, and the ids of the first are kept", async () => {
  const product = await createProduct();
  const daemon = await product.start();
  product.sandbox.setFaults({ next: [{ delayMs: 60_000 }] });
  const id = await insertAccount(product.database, { tiers: 1, pics: 1 });
  await eventually(() => expect(product.sandbox.counts().inWork).toBe(1));

  await product.database.query("update m_account set name = 'Edited' where id = $1", [id]);
  // The account, its tier, its contact person, and the edit.
  await eventually(async () => expect(await daemon.metric("changes_total")).toBe(4));
  product.sandbox.clearFaults();
  await eventually(async () =>
    expect(await daemon.metric("runs_total", { outcome: "synced" })).toBe(2),
  );

  expect(product.requests().map((request) => [request.method, nameIn(request.body)])).toEqual([
    ["POST", "Toko Uji"],
    ["PUT", "Edited"],
  ]);
  expect(product.sandbox.customers()).toHaveLength(1);
});

function nameIn(body: unknown): unknown {
  return (body as { customer?: { name?: unknown } } | null)?.customer?.name;
}
