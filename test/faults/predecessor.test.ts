/** A caller of the predecessor whose connection to the database is cut off while the API answers. */
import { afterEach, expect, test, vi } from "vitest";
import { eventually } from "../support/eventually.ts";
import { openLibrary } from "../support/library.ts";
import { acceptedWithoutIds, prepareCall, retryAndStayClean } from "../support/predecessor.ts";
import { createProduct } from "../support/product.ts";
import { startTcpProxy } from "../support/tcp-proxy.ts";

afterEach(() => {
  vi.unstubAllEnvs();
});

test("the API answers, and the connection to the database fails: the result says so, and a retry writes all", async () => {
  const product = await createProduct({ database: { migrated: true } });
  const url = new URL(product.database.url);
  const network = await startTcpProxy(Number(url.port));
  url.port = String(network.port);
  vi.stubEnv("SYNC_LEASE_MS", "2000");
  const { syncCustomerToExternalApi, retryFailedUpdates } = await openLibrary(product, {
    database: url.href,
  });
  const { id, accountData } = await prepareCall(product);
  product.sandbox.setFaults({ next: [{ delayMs: 60_000 }] });
  const calling = syncCustomerToExternalApi(accountData);
  await eventually(() => expect(product.sandbox.counts().inWork).toBe(1));
  await network.refuse();
  network.cut();
  product.sandbox.clearFaults();

  const result = await calling;
  await network.accept();

  expect(result).toStrictEqual(
    acceptedWithoutIds(product.requests()[0]?.body, {
      error: /^Database connection failed/,
      reason: ": Database connection failed",
    }),
  );
  await retryAndStayClean(product, retryFailedUpdates, result.processingResult, id);
});
