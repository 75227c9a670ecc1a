/**
 * What callers of the hand-written predecessor rely on: the same call, and the same keys in each situation. Each test is a row of its table,
 * with a real database and a real API.
 */
import { beforeEach, describe, expect, test } from "vitest";
import type { ProcessingResult } from "../../src/index.ts";
import { externalIds } from "../support/accounts.ts";
import { openLibrary } from "../support/library.ts";
import {
  acceptedWithoutIds,
  customerRecord,
  prepareCall,
  queueAndHistory,
  retryAndStayClean,
  sendsNothing,
} from "../support/predecessor.ts";
import { createProduct, type Product } from "../support/product.ts";

let product: Product;

beforeEach(async () => {
  product = await createProduct({ database: { migrated: true } });
});

describe("the result, key by key, where", () => {
  test("all is fine", async () => {
    const { syncCustomerToExternalApi } = await openLibrary(product);
    const { id, tierIds, picIds, accountData } = await prepareCall(product);

    const debugged = await syncCustomerToExternalApi(accountData, null, "siti", id, true);
    const result = await syncCustomerToExternalApi(accountData, null, "siti", id, false);

    const ids = await externalIds(product.database, id);
    expect(debugged).toMatchObject({ mode: "debug", validationResult: { isValid: true } });
    expect(result).toStrictEqual({
      success: true,
      response: expect.objectContaining({
        customer: { data: expect.objectContaining({ id: ids.account }) },
      }),
      customerData: product.requests()[0]?.body,
      processingResult: {
        success: true,
        updatedRecords: [
          customerRecord(id, ids.account),
          {
            success: true,
            type: "tier",
            updatedCount: 2,
            failedCount: 0,
            details: tierIds.map((tierId, n) => ({ success: true, tierId, uuidBe: ids.tiers[n] })),
          },
          {
            success: true,
            type: "crew",
            updatedCount: 2,
            failedCount: 0,
            details: picIds.map((picId) => ({
              success: true,
              picId,
              uuidBe: expect.any(String),
            })),
          },
        ],
        errors: [],
        summary: { totalUpdated: 3, totalErrors: 0 },
      },
    });
    expect(
      result.processingResult?.updatedRecords.find((r) => r.type === "tier")?.updatedCount,
    ).toBe(2);
    expect(JSON.parse(JSON.stringify(result))).toStrictEqual(result);
    expect(await queueAndHistory(product, id)).toEqual({ state: "clean", outcome: "synced" });
  });

  test("the customer is written, and tiers and crew are not", async () => {
    const { syncCustomerToExternalApi, retryFailedUpdates } = await openLibrary(product);
    const { id, accountData } = await prepareCall(product);
    await refuse("m_account_package_tier");
    await refuse("m_account_pic");

    const result = await syncCustomerToExternalApi(accountData);

    const ids = await externalIds(product.database, id);
    expect(result.processingResult).toStrictEqual({
      success: false,
      updatedRecords: [customerRecord(id, ids.account)],
      errors: [
        expect.stringMatching(/^Failed to update tier UUID: the database refused it \(P0001\)/),
        expect.stringMatching(/^Failed to update crew UUID: the database refused it \(P0001\)/),
      ],
      summary: { totalUpdated: 1, totalErrors: 2 },
      failedUpdates: expect.any(Array),
    });
    expect(await queueAndHistory(product, id)).toEqual({ state: "retrying", outcome: "partial" });

    await allow("m_account_package_tier");
    await allow("m_account_pic");
    await retryAndStayClean(product, retryFailedUpdates, result.processingResult, id);
  });

  test("the API refuses", async () => {
    const { syncCustomerToExternalApi } = await openLibrary(product);
    const { id, accountData } = await prepareCall(product);
    product.sandbox.setFaults({ next: [{ status: 422, body: { error: "Invalid data format" } }] });

    const result = await syncCustomerToExternalApi(accountData);

    expect(result).toStrictEqual({
      success: false,
      error: "External API Error: Invalid data format",
      details: {
        error: "Invalid data format",
        httpStatus: 422,
        errorClass: "rejected",
        delivery: "not_applied",
        retryAfterMs: null,
        explanation: expect.stringMatching(/^create \(POST .*\) answered 422: Invalid data format/),
      },
      customerData: product.requests()[0]?.body,
    });
    await parkedAndNotSentAgain(id);
  });

  test("the API refuses with a code, field errors and a trace id", async () => {
    const { syncCustomerToExternalApi } = await openLibrary(product);
    const { accountData } = await prepareCall(product);
    const error = {
      code: "E-4711",
      message: "Invalid data format",
      errors: [{ field: "customer.msisdn", message: "+6281234567890 is in use by Toko Uji" }],
      trace_id: "4bf92f3577b34da6a3ce929d0e0e4736",
    };
    product.sandbox.setFaults({ next: [{ status: 400, body: { success: false, error } }] });

    const result = await syncCustomerToExternalApi({ ...accountData, phone_no: "081234567890" });

    const masked = {
      ...error,
      errors: [{ field: "customer.msisdn", message: "[masked] is in use by [masked]" }],
    };
    expect("details" in result && result.details).toStrictEqual({
      ...masked,
      success: false,
      error: masked,
      httpStatus: 400,
      errorClass: "rejected",
      delivery: "not_applied",
      retryAfterMs: null,
      explanation: expect.any(String),
    });
    expect(result.error).toMatch(/^External API Error: Invalid data format/);
  });

  test("the API says no with a 200", async () => {
    const { syncCustomerToExternalApi } = await openLibrary(product);
    const { id, accountData } = await prepareCall(product);
    product.sandbox.setFaults({
      next: [
        {
          status: 200,
          body: { success: false, error: { message: "Invalid data format", status: 400 } },
        },
      ],
    });

    const result = await syncCustomerToExternalApi(accountData);

    expect(result).toMatchObject({
      success: false,
      error: "External API Error: Invalid data format",
      details: { status: 400, httpStatus: 200, errorClass: "rejected" },
    });
    await parkedAndNotSentAgain(id);
  });

  test("the API is fine, and the database refuses every id", async () => {
    const { syncCustomerToExternalApi, retryFailedUpdates } = await openLibrary(product);
    const { id, accountData } = await prepareCall(product);
    for (const table of TABLES) await refuse(table);

    const result = await syncCustomerToExternalApi(accountData);

    expect(result).toStrictEqual(
      acceptedWithoutIds(product.requests()[0]?.body, {
        error: /the database refused it \(P0001\)/,
      }),
    );
    for (const table of TABLES) await allow(table);
    await retryAndStayClean(product, retryFailedUpdates, result.processingResult, id);
  });

  test("some sections are written", async () => {
    const { syncCustomerToExternalApi, retryFailedUpdates } = await openLibrary(product);
    const { id, picIds, accountData } = await prepareCall(product);
    await refuse("m_account_package_tier");

    const result = await syncCustomerToExternalApi(accountData);

    const ids = await externalIds(product.database, id);
    expect(result).toStrictEqual({
      success: true,
      response: expect.any(Object),
      customerData: product.requests()[0]?.body,
      processingResult: {
        success: false,
        updatedRecords: [
          customerRecord(id, ids.account),
          {
            success: true,
            type: "crew",
            updatedCount: 2,
            failedCount: 0,
            details: picIds.map((picId) => ({ success: true, picId, uuidBe: expect.any(String) })),
          },
        ],
        errors: [expect.stringMatching(/^Failed to update tier UUID: /)],
        summary: { totalUpdated: 2, totalErrors: 1 },
        failedUpdates: expect.any(Array),
      },
    });
    await allow("m_account_package_tier");
    await retryAndStayClean(product, retryFailedUpdates, result.processingResult, id);
  });

  test("half of a section is written: it stands among the records, and the error names the row", async () => {
    const { syncCustomerToExternalApi, retryFailedUpdates } = await openLibrary(product);
    const { id, tierIds, accountData } = await prepareCall(product);
    await refuse("m_account_package_tier", `when (old.id = '${tierIds[1]}')`);

    const result = await syncCustomerToExternalApi(accountData);

    const reason = "the database refused it (P0001)";
    expect(result.processingResult?.updatedRecords[1]).toStrictEqual({
      success: false,
      type: "tier",
      updatedCount: 1,
      failedCount: 1,
      details: [
        { success: true, tierId: tierIds[0], uuidBe: expect.any(String) },
        { success: false, tierId: tierIds[1], uuidBe: expect.any(String), error: reason },
      ],
    });
    expect(result.processingResult).toMatchObject({
      errors: [`Failed to update tier UUID: ${reason} (${tierIds[1]})`],
      summary: { totalUpdated: 2, totalErrors: 1 },
    });
    await allow("m_account_package_tier");
    await retryAndStayClean(product, retryFailedUpdates, result.processingResult, id);
  });

  test("the API takes tiers in part: its own words are in the error, and a retry says that there is nothing to write", async () => {
    const { syncCustomerToExternalApi, retryFailedUpdates } = await openLibrary(product);
    const { id, accountData } = await prepareCall(product);
    product.sandbox.setFaults({
      next: [
        {
          status: 200,
          body: {
            customer: { data: { id: "ext-1" } },
            tier: { data: [], failed: 2, errors: ["overlapping tiers"] },
            crew: { data: [{ id: "p-1" }, { id: "p-2" }] },
          },
        },
      ],
    });

    const result = await syncCustomerToExternalApi(accountData);

    expect(result.processingResult).toMatchObject({
      success: false,
      updatedRecords: [{ type: "customer" }, { type: "crew", updatedCount: 2 }],
      errors: [expect.stringMatching(/^Failed to update tier UUID: .*overlapping tiers/)],
      summary: { totalUpdated: 2, totalErrors: 1 },
    });
    expect(
      await retryFailedUpdates(result.processingResult as ProcessingResult, { id }),
    ).toMatchObject({
      success: false,
      updatedRecords: [],
      errors: [expect.stringMatching(/sync the account again/)],
    });
  });
});

const SECTIONS = [
  ["m_account", "customer", "account"],
  ["m_account_package_tier", "tier", "tier"],
  ["m_account_pic", "crew", "crew"],
] as const;
const SOME_SECTIONS = [1, 2, 3, 4, 5, 6, 7].map((bits) =>
  SECTIONS.filter((_, position) => (bits & (1 << position)) !== 0),
);

test.each(SOME_SECTIONS.map((refused) => [refused.map(([, type]) => type).join(", "), refused]))(
  "of %s refused by the database each has one sentence and no record, and a retry makes queue and history clean",
  async (_, refused) => {
    const { syncCustomerToExternalApi, retryFailedUpdates } = await openLibrary(product);
    const { id, accountData } = await prepareCall(product);
    for (const [table] of refused) await refuse(table);

    const { processingResult } = await syncCustomerToExternalApi(accountData);

    const isRefused = (type: string) => refused.some(([, one]) => one === type);
    const written = SECTIONS.map(([, type]) => type).filter((type) => !isRefused(type));
    expect(processingResult?.updatedRecords.map(({ type }) => type)).toEqual(written);
    expect(processingResult?.errors).toEqual(
      refused.map(([, , name]) => expect.stringMatching(`^Failed to update ${name} UUID: .+`)),
    );
    expect(processingResult?.summary).toEqual({
      totalUpdated: written.length,
      totalErrors: refused.length,
    });
    expect(processingResult?.error === undefined).toBe(written.length > 0);

    for (const [table] of refused) await allow(table);
    await retryAndStayClean(product, retryFailedUpdates, processingResult, id);
  },
);

const TABLES = ["m_account", "m_account_package_tier", "m_account_pic"] as const;

/** Also what was captured before the call is dealt with: the refusal was about it. */
async function parkedAndNotSentAgain(id: string): Promise<void> {
  expect(await queueAndHistory(product, id)).toEqual({ state: "parked", outcome: "parked" });
  await sendsNothing(product);
  expect(await queueAndHistory(product, id)).toEqual({ state: "parked", outcome: "parked" });
}

/** As a trigger of the application might. */
async function refuse(table: string, when = ""): Promise<void> {
  await product.database.query(
    `create or replace function refuse() returns trigger language plpgsql as $$ begin raise exception 'no'; end $$`,
  );
  await product.database.query(
    `create trigger refuse before update of uuid_be on ${table} for each row ${when} execute function refuse()`,
  );
}

async function allow(table: string): Promise<void> {
  await product.database.query(`drop trigger refuse on ${table}`);
}
