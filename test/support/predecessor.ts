/** What a caller of the predecessor hands in and keeps, and what has to be true after its retry. */
import { expect } from "vitest";
import type { AccountSync, ProcessingResult } from "../../src/index.ts";
import { externalIds, insertAccount } from "./accounts.ts";
import { isAtRest } from "./audit.ts";
import { eventually } from "./eventually.ts";
import type { Product } from "./product.ts";

const ISO = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}Z$/;

/** As the predecessor's example hands it in: by local ids, and little else. */
export async function prepareCall(product: Product) {
  const id = await insertAccount(product.database, { tiers: 2, pics: 2 });
  const idsOf = async (table: string, order: string) =>
    (await product.database.query<{ id: string }>(`select id from ${table} order by ${order}`)).map(
      (row) => row.id,
    );
  const tierIds = await idsOf("m_account_package_tier", "min_value");
  const picIds = await idsOf("m_account_pic", "created_at, id");
  const accountData = {
    id,
    name: "Toko Uji",
    package_tiers: tierIds.map((tierId, n) => ({ id: tierId, min_value: n * 4_000_000 })),
    pics: picIds.map((picId, n) => ({ id: picId, name: `Budi ${n}` })),
  };
  return { id, tierIds, picIds, accountData };
}

export function customerRecord(accountId: string, uuidBe: string | null) {
  const updatedAt = expect.stringMatching(ISO) as string;
  return { success: true, type: "customer", accountId, uuidBe, updatedAt };
}

/** The API has accepted the command, and the database took none of the three kinds of ids. */
export function acceptedWithoutIds(
  customerData: unknown,
  { error, reason = "" }: { readonly error: RegExp; readonly reason?: string },
) {
  return {
    success: true,
    response: expect.any(Object) as object,
    customerData,
    processingResult: {
      success: false,
      error: expect.stringMatching(error) as string,
      updatedRecords: [],
      errors: ["account", "tier", "crew"].map(
        (kind) => expect.stringMatching(`^Failed to update ${kind} UUID${reason}`) as string,
      ),
      summary: { totalUpdated: 0, totalErrors: 3 },
      failedUpdates: expect.any(Array) as unknown[],
    },
  };
}

/** The ids stand, the queue has nothing left to do, the history says the same, and a daemon that comes sends nothing. */
export async function retryAndStayClean(
  product: Product,
  retryFailedUpdates: AccountSync["retryFailedUpdates"],
  processingResult: ProcessingResult | undefined,
  id: string,
): Promise<void> {
  const kept = JSON.parse(JSON.stringify(processingResult)) as ProcessingResult;

  const retried = await retryFailedUpdates(kept, { id }, "siti");

  expect(retried).toMatchObject({ success: true, errors: [], summary: { totalErrors: 0 } });
  expect(await externalIds(product.database, id)).toMatchObject({
    account: expect.any(String),
    tiers: [expect.any(String), expect.any(String)],
    pics: [expect.any(String), expect.any(String)],
    updatedBy: expect.stringMatching(/^(?:siti|account-sync)$/),
  });
  expect(await queueAndHistory(product, id)).toEqual({ state: "clean", outcome: "synced" });
  // The captured insert is not what this is about.
  await product.database.query("delete from account_sync.change");
  await sendsNothing(product);
  expect(await queueAndHistory(product, id)).toEqual({ state: "clean", outcome: "synced" });
}

export async function sendsNothing(product: Product): Promise<void> {
  const before = product.requests().length;
  const daemon = await product.start();
  await eventually(async () => expect(await isAtRest(product.database)).toBe(true));
  await daemon.stop("enough");
  expect(product.requests()).toHaveLength(before);
}

export async function queueAndHistory(product: Product, id: string): Promise<unknown> {
  const [row] = await product.database.query(
    `select s.state, (select outcome from account_sync.history h where h.account_id = s.account_id order by started_at desc limit 1)
     from account_sync.status s where s.account_id = $1`,
    [id],
  );
  return row;
}
