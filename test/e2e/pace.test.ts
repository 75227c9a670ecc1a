/** What the API can bear holds over all replicas together: `CUSTOMER_API_MAX_RPS`, with nothing made up for after a pause, and Retry-After. */
import { expect, test } from "vitest";
import { insertAccounts } from "../support/accounts.ts";
import { eventually } from "../support/eventually.ts";
import { createProduct } from "../support/product.ts";

test("two daemons together stay below the requests per second, also after an outage", async () => {
  const product = await createProduct();
  // So that the outage leaves no create in doubt.
  const limit = { CUSTOMER_API_MAX_RPS: "40", CUSTOMER_API_NOT_APPLIED_STATUSES: "429,503" };
  await product.start(limit);
  await product.start(limit);
  // An outage first, so that work piles up.
  product.sandbox.setFaults({ always: { status: 503 } });
  await insertAccounts(product.database, 120);
  await eventually(() => expect(product.requests().length).toBeGreaterThan(5));
  product.sandbox.clearFaults();

  await eventually(() => expect(product.sandbox.customers()).toHaveLength(120), {
    timeoutMs: 30_000,
    intervalMs: 100,
  });

  // Places are 25 ms apart. A process that has to wait for a processor brings a few late requests together: a quarter of a second of
  // them is let through here; without the limit there are hundreds a second.
  const times = product.requests().map((request) => request.receivedAt);
  expect(mostWithin(times, 1_000)).toBeLessThanOrEqual(50);
  expect(mostWithin(times, 2_000)).toBeLessThanOrEqual(90);
});

test("Retry-After is said to one daemon and obeyed by all", async () => {
  const product = await createProduct();
  const { sandbox } = product;
  await product.start({ SYNC_CONCURRENCY: "2" });
  await product.start({ SYNC_CONCURRENCY: "2" });
  sandbox.setFaults({ always: { delayMs: 20 } });
  await insertAccounts(product.database, 200);
  await eventually(() => expect(product.requests().length).toBeGreaterThan(20));

  sandbox.setFaults({ next: [{ status: 429, retryAfter: 3 }], always: { delayMs: 20 } });
  await eventually(() => expect(sandbox.customers()).toHaveLength(200), {
    timeoutMs: 30_000,
    intervalMs: 100,
  });

  // What the other one had under way, or was about to send, goes through; after that it is quiet until the three seconds are over.
  const askedAt = product.requests().find((request) => request.status === 429)?.answeredAt ?? 0;
  const meanwhile = product
    .requests()
    .filter(({ receivedAt }) => receivedAt > askedAt + 500 && receivedAt < askedAt + 2_900);
  expect(askedAt).toBeGreaterThan(0);
  expect(meanwhile).toHaveLength(0);
});

function mostWithin(times: readonly number[], windowMs: number): number {
  return Math.max(
    ...times.map(
      (start) => times.filter((time) => time >= start && time < start + windowMs).length,
    ),
  );
}
