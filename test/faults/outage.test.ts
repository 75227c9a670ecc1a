/** The customer API is down, slow, full or angry: what is known is kept, nothing is sent twice, and a human is asked when needed. */
import { expect, test } from "vitest";
import { externalIds, insertAccount, insertAccounts } from "../support/accounts.ts";
import { eventually } from "../support/eventually.ts";
import { createProduct, type Product } from "../support/product.ts";

test("a create that the API did not take is repeated under its own key and body until it is taken", async () => {
  const product = await createProduct();
  await product.start({ CUSTOMER_API_NOT_APPLIED_STATUSES: "429,503" });
  product.sandbox.setFaults({ next: [{ status: 503 }, { status: 503 }] });

  const id = await insertAccount(product.database);
  await eventually(async () =>
    expect((await externalIds(product.database, id)).account).not.toBeNull(),
  );

  const requests = product.requests();
  expect(requests.map((request) => request.status)).toEqual([503, 503, 201]);
  expect(new Set(requests.map((request) => request.key)).size).toBe(1);
  expect(new Set(requests.map((request) => request.text)).size).toBe(1);
});

test("a create whose answer never came is parked, and a retry by a human makes no second customer", async () => {
  const product = await createProduct();
  // A retry waits until the first one cannot be under way any more: twice as long.
  const daemon = await product.start({ CUSTOMER_API_TIMEOUT_MS: "500" });
  product.sandbox.setFaults({ next: [{ dropConnection: "after" }] });

  const id = await insertAccount(product.database, { tiers: 1, pics: 1 });
  await eventually(async () =>
    expect(await stateOf(product, id)).toMatchObject({
      state: "parked",
      error_class: "unknown_outcome",
    }),
  );
  await product.database.query("update m_account set name = 'Edited meanwhile' where id = $1", [
    id,
  ]);
  await eventually(async () => expect(await daemon.metric("changes_total")).toBe(4));
  expect(await stateOf(product, id)).toMatchObject({ state: "parked" });
  expect(await daemon.metric("unknown_outcomes_total")).toBe(1);
  expect(
    await daemon.metric("failed_total", { reason: "unknown_outcome", entity: "account" }),
  ).toBe(1);

  await fetch(`${daemon.url}/api/accounts/retry`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ ids: [id] }),
  });
  await eventually(async () =>
    expect(await stateOf(product, id)).toMatchObject({ state: "clean" }),
  );

  expect(product.sandbox.customers()).toHaveLength(1);
  const [first, second, third] = product.requests();
  expect([second?.key, second?.text]).toEqual([first?.key, first?.text]);
  expect(third).toMatchObject({ method: "PUT", body: { customer: { name: "Edited meanwhile" } } });
});

test("an account the API refuses is parked until its data changes, and the reason names no personal value", async () => {
  const product = await createProduct();
  const daemon = await product.start();
  product.sandbox.setFaults({
    next: [
      {
        status: 422,
        body: JSON.stringify({ error: "email toko@example.com of Toko Uji is taken" }),
      },
    ],
  });

  const id = await insertAccount(product.database, { tiers: 1, pics: 1 });
  await eventually(async () =>
    expect(await stateOf(product, id)).toMatchObject({ state: "parked", error_class: "rejected" }),
  );
  const { error } = await stateOf(product, id);
  expect(error).toContain("422");
  expect(error).not.toMatch(/toko@example\.com|Toko Uji/);

  await product.database.query("update m_account set email = 'other@example.com' where id = $1", [
    id,
  ]);
  await eventually(async () =>
    expect(await stateOf(product, id)).toMatchObject({ state: "clean", error: null }),
  );
  expect(await daemon.metric("failed_total", { reason: "rejected", entity: "tier" })).toBe(1);
  expect(daemon.log.join("\n")).not.toMatch(/toko@example\.com|Toko Uji|081234567890/);
});

test("a refused token stops all sends and is said once, and a token that works again loses nothing", async () => {
  const product = await createProduct();
  const daemon = await product.start({ CUSTOMER_API_CLIENT_SECRET: "wrong-secret" });

  await insertAccounts(product.database, 20);
  await eventually(async () =>
    expect(await daemon.metric("circuit_state", { state: "open" })).toBe(1),
  );
  await eventually(async () => expect(await daemon.metric("pending_accounts")).toBe(20));

  expect(product.requests()).toEqual([]);
  const said = daemon.log.filter((line) => JSON.parse(line).msg.startsWith("circuit open"));
  expect(said).toHaveLength(1);
  expect(said[0]).toContain("check CUSTOMER_API_CLIENT_ID, CUSTOMER_API_CLIENT_SECRET");
  expect(daemon.log.join("\n")).not.toContain("wrong-secret");
  const rows = await product.database.query("select distinct attempts from account_sync.status");
  expect(rows).toEqual([{ attempts: 0 }]);

  await daemon.stop("its secret is corrected");
  const corrected = await product.start();
  await eventually(async () =>
    expect(await corrected.metric("runs_total", { outcome: "synced" })).toBe(20),
  );
});

test("an API that is away costs requests now and then, no attempts without end, and everything arrives when it is back", async () => {
  const product = await createProduct();
  const port = Number(new URL(product.sandbox.url).port);
  const daemon = await product.start({
    CUSTOMER_API_URL: `http://127.0.0.1:${await closedPort()}`,
  });

  await insertAccounts(product.database, 50);
  await eventually(async () =>
    expect(await daemon.metric("circuit_state", { state: "open" })).toBe(1),
  );
  expect(await daemon.metric("api_requests_total", { result: "network" })).toBeLessThan(50);
  await daemon.stop("its URL is corrected");

  const corrected = await product.start({ CUSTOMER_API_URL: `http://127.0.0.1:${port}` });
  await eventually(async () =>
    expect(await corrected.metric("runs_total", { outcome: "synced" })).toBe(50),
  );
  expect(product.sandbox.customers()).toHaveLength(50);
});

test("when the answer names no tiers the account is partial, and an update asks for them", async () => {
  const product = await createProduct();
  const daemon = await product.start();
  product.sandbox.setFaults({ next: [{ omit: ["tier"] }] });

  const id = await insertAccount(product.database, { tiers: 2, pics: 1 });
  await eventually(async () =>
    expect((await externalIds(product.database, id)).tiers).not.toContain(null),
  );

  expect(product.requests().map((request) => request.method)).toEqual(["POST", "PUT"]);
  expect(await daemon.metric("runs_total", { outcome: "partial" })).toBe(1);
  expect(await daemon.metric("failed_total", { entity: "tier", reason: "incomplete" })).toBe(2);
});

async function stateOf(
  product: Product,
  id: string,
): Promise<{ state: string; error_class: string | null; error: string | null }> {
  const [row] = await product.database.query<{
    state: string;
    error_class: string | null;
    error: string | null;
  }>("select state, error_class, error from account_sync.status where account_id = $1", [id]);
  if (row === undefined) throw new Error("the queue does not know the account");
  return row;
}

/** A port that nobody listens on. */
async function closedPort(): Promise<number> {
  const { createServer } = await import("node:net");
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === "string") throw new Error("no port");
  return address.port;
}
