/** `CUSTOMER_API_MAX_RPS` holds over all replicas together, and nothing is made up for after a pause. */
import { expect, test } from "vitest";
import { insertAccounts } from "../support/accounts.ts";
import { eventually } from "../support/eventually.ts";
import { createProduct } from "../support/product.ts";

test("two daemons together stay below the requests per second, also after an outage", async () => {
  const product = await createProduct();
  const limit = { CUSTOMER_API_MAX_RPS: "40" };
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

  const times = product.requests().map((request) => request.receivedAt);
  // A request may be late, so the tightest window that the limit promises something about is a second, give or take two.
  expect(mostWithin(times, 1_000)).toBeLessThanOrEqual(42);
  expect(mostWithin(times, 2_000)).toBeLessThanOrEqual(82);
});

function mostWithin(times: readonly number[], windowMs: number): number {
  return Math.max(
    ...times.map(
      (start) => times.filter((time) => time >= start && time < start + windowMs).length,
    ),
  );
}
