/** The library: what applications call, on a real database and a real API, with and without a daemon beside it. */
import pg from "pg";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { ProcessingResult, SyncedResult } from "../../src/index.ts";
import { createAccountSync } from "../../src/index.ts";
import { startSandbox } from "../../src/local/sandbox.ts";
import { externalIds, insertAccount } from "../support/accounts.ts";
import { audit, isAtRest } from "../support/audit.ts";
import { eventually } from "../support/eventually.ts";
import { accountDataOf, openLibrary } from "../support/library.ts";
import { createDatabase } from "../support/postgres.ts";
import { createProduct, type Product } from "../support/product.ts";
import { FLAWLESS } from "../support/verdict.ts";

let product: Product;

beforeEach(async () => {
  product = await createProduct({ database: { migrated: true } });
});

describe("a call", () => {
  test("brings the account to the API and its ids to the rows", async () => {
    const { syncCustomerToExternalApi } = await openLibrary(product);
    const id = await insertAccount(product.database, { tiers: 2, pics: 1 });

    const result = await syncCustomerToExternalApi(
      await accountDataOf(product.database, id),
      null,
      "siti",
    );

    const ids = await externalIds(product.database, id);
    expect(ids).toMatchObject({
      account: expect.any(String),
      tiers: [expect.any(String), expect.any(String)],
      pics: [expect.any(String)],
      updatedBy: "siti",
    });
    expect(result).toEqual({
      success: true,
      response: expect.objectContaining({
        customer: { data: expect.objectContaining({ id: ids.account }) },
      }),
      customerData: product.requests()[0]?.body,
      processingResult: {
        success: true,
        updatedRecords: [
          {
            success: true,
            type: "customer",
            accountId: id,
            uuidBe: ids.account,
            updatedAt: expect.stringMatching(/^\d{4}-\d{2}-\d{2}T.*Z$/),
          },
          {
            success: true,
            type: "tier",
            updatedCount: 2,
            failedCount: 0,
            details: ids.tiers.map((uuidBe) => ({
              success: true,
              tierId: expect.any(String),
              uuidBe,
            })),
          },
          {
            success: true,
            type: "crew",
            updatedCount: 1,
            failedCount: 0,
            details: [{ success: true, picId: expect.any(String), uuidBe: ids.pics[0] }],
          },
        ],
        errors: [],
        summary: { totalUpdated: 3, totalErrors: 0 },
      },
    });
    expect(JSON.parse(JSON.stringify(result))).toEqual(result);
  });

  test("of the smallest useful kind works", async () => {
    const { syncCustomerToExternalApi } = await openLibrary(product);
    const id = await insertAccount(product.database, { tiers: 1, pics: 1 });
    const [tier] = await product.database.query<{ id: string }>(
      "select id from m_account_package_tier",
    );
    const [pic] = await product.database.query<{ id: string }>("select id from m_account_pic");

    const result = await syncCustomerToExternalApi({
      id,
      name: "Toko",
      package_tiers: [{ id: tier?.id ?? "", min_value: 0 }],
      pics: [{ id: pic?.id ?? "", name: "Budi" }],
    });

    expect(result).toMatchObject({
      success: true,
      processingResult: { success: true, summary: { totalUpdated: 3 } },
    });
    expect((result as SyncedResult).customerData.tier).toEqual([
      { tier_type: "nominal", tier_category: "discount", min_amount: 0 },
    ]);
  });

  test("with GUIDs in capitals is about the same rows", async () => {
    const { syncCustomerToExternalApi } = await openLibrary(product);
    const id = await insertAccount(product.database, { tiers: 1, pics: 1 });
    const data = await accountDataOf(product.database, id);
    await syncCustomerToExternalApi(data);
    const ids = await externalIds(product.database, id);
    const inCapitals = <Row extends { readonly id: unknown }>(row: Row) => ({
      ...row,
      id: String(row.id).toUpperCase(),
    });

    const result = await syncCustomerToExternalApi({
      ...inCapitals(data),
      name: "Toko Baru",
      package_tiers: data.package_tiers?.map(inCapitals) ?? [],
      pics: data.pics?.map(inCapitals) ?? [],
    });

    expect(result).toMatchObject({ success: true, processingResult: { success: true } });
    expect(product.requests()[1]?.body).toMatchObject({
      tier: [{ id: ids.tiers[0] }],
      "customer-crew": [{ id: ids.pics[0] }],
    });
    expect(await externalIds(product.database, id)).toEqual(ids);
  });

  test("decides by the row whether it creates or updates, whatever the input says", async () => {
    const { syncCustomerToExternalApi } = await openLibrary(product);
    const id = await insertAccount(product.database, { tiers: 1, pics: 1 });
    const before = await accountDataOf(product.database, id);
    await syncCustomerToExternalApi(before);

    // Loaded before the first call, so without ids.
    await syncCustomerToExternalApi({ ...before, name: "Toko Baru" });

    expect(product.requests().map(({ operation }) => operation)).toEqual(["create", "update"]);
    const ids = await externalIds(product.database, id);
    expect(product.requests()[1]?.body).toMatchObject({
      customer: { id: ids.account, name: "Toko Baru" },
      tier: [{ id: ids.tiers[0] }],
      "customer-crew": [{ id: ids.pics[0] }],
    });
    expect(product.sandbox.customers()).toHaveLength(1);
  });

  test("with an id where the row has none updates that customer, unless it is another account's", async () => {
    const { syncCustomerToExternalApi } = await openLibrary(product);
    const id = await insertAccount(product.database, { accountNo: "A-1", tiers: 0, pics: 0 });
    const other = await insertAccount(product.database, { accountNo: "A-2", tiers: 0, pics: 0 });
    const data = await accountDataOf(product.database, id);
    await syncCustomerToExternalApi(data);
    const { account: uuid } = await externalIds(product.database, id);
    await product.database.query("update m_account set uuid_be = null where id = $1", [id]);

    const again = await syncCustomerToExternalApi({ ...data, uuid_be: uuid });
    const stolen = await syncCustomerToExternalApi({
      ...(await accountDataOf(product.database, other)),
      uuid_be: uuid,
    });

    expect(again).toMatchObject({ success: true });
    expect(product.requests().map(({ operation }) => operation)).toEqual(["create", "update"]);
    expect(await externalIds(product.database, id)).toMatchObject({ account: uuid });
    expect(stolen).toMatchObject({
      success: false,
      error: `Validation failed: uuid_be is the id of account ${id}`,
    });
  });

  test("finds names that no relation was loaded for", async () => {
    const { syncCustomerToExternalApi } = await openLibrary(product);
    await product.database.query(
      "insert into m_account_type (id, name) values ('00000000-0000-4000-8000-0000000000a1', 'sub-branch')",
    );
    const parent = await insertAccount(product.database, { accountNo: "P-1", tiers: 0, pics: 0 });
    await syncCustomerToExternalApi(await accountDataOf(product.database, parent));
    const id = await insertAccount(product.database, { accountNo: "C-1", tiers: 0, pics: 0 });
    const [bank] = await product.database.query<{ id: string }>(
      "insert into m_bank (id, name, uuid_be) values (gen_random_uuid(), 'BCA', 'ext-bank') returning id",
    );

    await syncCustomerToExternalApi({
      id,
      name: "Anak",
      account_type_id: "00000000-0000-4000-8000-0000000000a1",
      parentId: parent,
      account_bank: [
        {
          bank_id: bank?.id ?? "",
          bank_account_no: "123",
          bank_account_holder_name: "Budi Santoso",
        },
      ],
    });

    const { account } = await externalIds(product.database, parent);
    expect(product.requests()[1]?.body).toMatchObject({
      customer: { customer_role: "sub-branch", parent_id: account },
      "beneficiary-account": { bank: { id: "ext-bank" }, firstname: "Budi" },
    });
  });

  test("stands in the history with the daemon's counts, and under the account that was named for it", async () => {
    const { syncCustomerToExternalApi } = await openLibrary(product);
    const id = await insertAccount(product.database, { tiers: 2, pics: 1 });

    await syncCustomerToExternalApi(
      await accountDataOf(product.database, id),
      null,
      "siti",
      "order-7",
    );

    const history = await product.database.query(
      "select account_id, trigger, outcome, updated from account_sync.history order by started_at",
    );
    const entry = {
      trigger: "manual",
      outcome: "synced",
      updated: { account: 1, tier: 2, pic: 1 },
    };
    expect(history).toEqual([
      { account_id: id, ...entry },
      { account_id: "order-7", ...entry },
    ]);
  });

  test("goes through the pool that it was given, and leaves it open", async () => {
    const pool = new pg.Pool({ connectionString: product.database.url, max: 3 });
    // As many applications do it.
    pg.types.setTypeParser(pg.types.builtins.INT8, Number);
    try {
      const library = await openLibrary(product, { database: pool });
      const id = await insertAccount(product.database, { tiers: 1, pics: 1 });

      const results = await Promise.all([
        library.syncCustomerToExternalApi(await accountDataOf(product.database, id)),
        library.syncCustomerToExternalApi(await accountDataOf(product.database, id)),
      ]);
      await library.close();

      expect(results.map(({ success }) => success)).toEqual([true, true]);
      expect(product.requests().map(({ operation }) => operation)).toEqual(["create", "update"]);
      expect((await pool.query("select 1 as one")).rows).toEqual([{ one: 1 }]);
    } finally {
      pg.types.setTypeParser(pg.types.builtins.INT8, String);
      await pool.end();
    }
  });
});

test("a call goes to the configuration that it names, with its own credentials; what there is can be listed", async () => {
  const other = await startSandbox({ clientId: "other", clientSecret: "s3cret-of-the-row" });
  try {
    const [row] = await product.database.query<{ id: string }>(
      `insert into m_backend_ext_config (name, base_url, client_id, client_secret, method, url, is_active)
       values ('Other customers', $1, 'other', 's3cret-of-the-row', 'POST', '/api/customer/command', true) returning id`,
      [other.url],
    );
    const configId = row?.id ?? "";
    const library = await openLibrary(product);
    const id = await insertAccount(product.database, { tiers: 0, pics: 0 });
    const data = await accountDataOf(product.database, id);

    const unknown = await library.syncCustomerToExternalApi(data, crypto.randomUUID());
    const result = await library.syncCustomerToExternalApi(data, configId);
    const configs = await library.getAvailableBackendConfigs();

    expect(unknown).toMatchObject({
      success: false,
      error: expect.stringMatching(/^Validation failed: m_backend_ext_config has no active row/),
    });
    expect(result).toMatchObject({ success: true });
    expect(other.customers()).toHaveLength(1);
    expect(product.requests()).toEqual([]);
    expect(configs).toMatchObject([
      { id: null, isDefault: true, isUsable: true },
      { id: configId, name: "Other customers", isDefault: false, isUsable: true },
    ]);
    expect(JSON.stringify(configs)).not.toContain("s3cret");
  } finally {
    await other.close();
  }
});

describe("a call that does not succeed", () => {
  test.each([
    ["no id", { name: "Toko" }, "id"],
    ["a tier that is no object", { id: "1", package_tiers: [5] }, "package_tiers[0]"],
    [
      "an amount that is none",
      { id: "1", package_tiers: [{ id: 1, amount: "x" }] },
      "package_tiers[0].amount",
    ],
    ["nothing", undefined, "the account"],
  ])("because of %s names the field and sends nothing", async (_, data, field) => {
    const { syncCustomerToExternalApi } = await openLibrary(product);

    const result = await syncCustomerToExternalApi(data as never);

    expect(result).toMatchObject({
      success: false,
      error: expect.stringMatching(/^Validation failed: /),
      validationResult: { isValid: false, errors: [{ field }] },
      customerData: null,
    });
  });

  test("because it is not valid leaves the account as it was", async () => {
    const { syncCustomerToExternalApi } = await openLibrary(product);
    const id = await insertAccount(product.database);
    const data = await accountDataOf(product.database, id);
    await syncCustomerToExternalApi(data);

    const result = await syncCustomerToExternalApi({ ...data, name: " ", email: "no address" });

    expect(result).toMatchObject({
      success: false,
      validationResult: {
        errors: [{ field: "customer.name" }, { field: "customer.email" }, { field: "branch.name" }],
      },
    });
    expect(product.requests()).toHaveLength(1);
    expect(await stateOf(id)).toBe("clean");
  });

  test("because there is no such account sends nothing, and leaves nothing behind", async () => {
    const { syncCustomerToExternalApi } = await openLibrary(product);

    const result = await syncCustomerToExternalApi({ id: crypto.randomUUID(), name: "Toko" });

    expect(result).toMatchObject({
      success: false,
      error: expect.stringMatching(/there is no account/),
    });
    expect(product.requests()).toEqual([]);
    expect(await product.database.query("select from account_sync.account")).toEqual([]);
  });

  test("because its create was not answered is told so, and nobody sends it again", async () => {
    const { syncCustomerToExternalApi } = await openLibrary(product);
    const id = await insertAccount(product.database, { tiers: 0, pics: 0 });
    const data = await accountDataOf(product.database, id);
    product.sandbox.setFaults({ next: [{ dropConnection: "after" }] });

    const first = await syncCustomerToExternalApi(data);
    const second = await syncCustomerToExternalApi(data);

    expect(first).toMatchObject({
      success: false,
      error: expect.stringMatching(/^External API Error: .*may exist/),
      details: { errorClass: "unknown_outcome", delivery: "unknown" },
    });
    expect(second).toMatchObject({ success: false, details: { errorClass: "unknown_outcome" } });
    expect(product.requests()).toHaveLength(1);
    expect(await stateOf(id)).toBe("parked");
  });

  test("because its parent has no external id is told whom it waits for", async () => {
    const { syncCustomerToExternalApi } = await openLibrary(product);
    const parent = await insertAccount(product.database, { accountNo: "P-1" });
    const id = await insertAccount(product.database, { accountNo: "C-1", parentId: parent });

    const result = await syncCustomerToExternalApi(await accountDataOf(product.database, id));

    expect(result).toMatchObject({
      success: false,
      error: `Validation failed: Waits for its parent ${parent}, which has no external id yet.`,
    });
    expect(product.requests()).toEqual([]);
  });

  test("because the database is away says so, before anything is sent", async () => {
    const database = await createDatabase({ migrated: true });
    const library = await openLibrary({ database, sandbox: product.sandbox }, { waitMs: 500 });
    const id = await insertAccount(database);
    const data = await accountDataOf(database, id);
    await database.query("alter table account_sync.account rename to away");

    const result = await library.syncCustomerToExternalApi(data);

    expect(result).toMatchObject({
      success: false,
      error: expect.stringMatching(/^Database Error: /),
      customerData: { customer: { name: "Toko Uji" } },
    });
    expect(product.requests()).toEqual([]);
    await database.query("alter table account_sync.away rename to account");
  }, 30_000);

  test("because somebody else has the account for too long gives up", async () => {
    const { syncCustomerToExternalApi } = await openLibrary(product, { waitMs: 300 });
    const id = await insertAccount(product.database);
    const data = await accountDataOf(product.database, id);
    await product.database.query(
      `insert into account_sync.account (account_id, lane, changed_at, last_changed_at, due_at, lease_token)
       values ($1, 'change', now(), now(), now() + interval '1 minute', gen_random_uuid())`,
      [id],
    );

    const result = await syncCustomerToExternalApi(data);

    expect(result).toMatchObject({
      success: false,
      error: "Database Error: another process had the account for all the time that was waited",
    });
    expect(product.requests()).toEqual([]);
  });
});

describe("debug mode", () => {
  test("shows what would be sent, masked, with what is different from last time, and touches nothing", async () => {
    const { syncCustomerToExternalApi, debugCustomerData, previewCustomerData } =
      await openLibrary(product);
    const id = await insertAccount(product.database, { tiers: 1, pics: 1 });
    const data = await accountDataOf(product.database, id);
    await syncCustomerToExternalApi(data);
    const before = await everything();

    const result = await syncCustomerToExternalApi(
      { ...data, name: "Toko Baru" },
      null,
      null,
      null,
      true,
    );

    const ids = await externalIds(product.database, id);
    expect(result).toMatchObject({
      success: true,
      mode: "debug",
      originalData: { id, name: "Toko Baru" },
      transformedData: {
        customer: { id: ids.account, name: "Toko Baru", ktp: "3171234567890123" },
        tier: [{ id: ids.tiers[0] }],
      },
      validationResult: { isValid: true, errors: [] },
      previewData: { customer: { ktp: expect.stringMatching(/^\*+\d{1,4}$/) } },
      debugReport: {
        operation: "update",
        difference: { status: "different", paths: { changed: ["customer.name", "branch.name"] } },
      },
      summary: { canSend: true, customerName: "Toko Baru", dataIntegrity: "PASS" },
    });
    expect(await debugCustomerData({ ...data, name: "Toko Baru" })).toEqual(result);
    expect(await previewCustomerData({ ...data, name: "Toko Baru" })).toEqual(result);
    expect(await everything()).toEqual(before);
    expect(product.requests()).toHaveLength(1);
  });

  test("looks at an account that is in no table, too", async () => {
    const { debugCustomerData } = await openLibrary(product);

    const result = await debugCustomerData({ id: crypto.randomUUID(), name: "" });
    const nothing = await debugCustomerData({} as never);

    expect(result).toMatchObject({
      mode: "debug",
      validationResult: { isValid: false },
      debugReport: { operation: "create", difference: { status: "none_accepted" } },
      summary: { canSend: false },
    });
    expect(nothing).toMatchObject({ success: false, validationResult: { isValid: false } });
  });

  test("speaks Indonesian where that is asked for, as a refusal does", async () => {
    const { debugCustomerData, syncCustomerToExternalApi } = await openLibrary(product, {
      messages: "id",
    });
    const id = await insertAccount(product.database);

    const debugged = await debugCustomerData({ id, name: " " });
    const refused = await syncCustomerToExternalApi({ id, name: " " });

    expect(debugged).toMatchObject({ debugReport: { obstacle: "Perintah tidak valid." } });
    expect(refused).toMatchObject({ error: expect.stringMatching(/^Validasi gagal: /) });
  });
});

describe("ids that could not be written", () => {
  test("are in the result, and are written later without a request", async () => {
    const { syncCustomerToExternalApi, retryFailedUpdates } = await openLibrary(product);
    const id = await insertAccount(product.database, { tiers: 2, pics: 1 });
    await refuseTierIds();

    const result = (await syncCustomerToExternalApi(
      await accountDataOf(product.database, id),
    )) as SyncedResult;
    const half = await externalIds(product.database, id);
    await product.database.query("drop trigger refuse on m_account_package_tier");
    const kept = JSON.parse(JSON.stringify(result.processingResult)) as ProcessingResult;
    const retried = await retryFailedUpdates(kept, { id }, "siti");

    expect(result).toMatchObject({
      success: true,
      processingResult: {
        success: false,
        updatedRecords: [
          { type: "customer", success: true },
          { type: "crew", success: true },
        ],
        errors: [expect.stringMatching(/^Failed to update tier UUID: .*P0001/)],
        summary: { totalUpdated: 2, totalErrors: 1 },
        failedUpdates: [{ type: "tier" }, { type: "tier" }],
      },
    });
    expect(half.tiers).toEqual([null, null]);
    expect(half.account).not.toBeNull();
    expect(retried).toMatchObject({
      success: true,
      updatedRecords: [{ type: "tier", success: true, updatedCount: 2, failedCount: 0 }],
      errors: [],
      summary: { totalUpdated: 1, totalErrors: 0 },
    });
    expect((await externalIds(product.database, id)).tiers).toEqual([
      expect.any(String),
      expect.any(String),
    ]);
    expect(product.requests()).toHaveLength(1);
    expect(await audit(product.database, product.sandbox)).toEqual(FLAWLESS);
  });

  test("are not forced on a row that has another id by now", async () => {
    const { retryFailedUpdates, updatePackageTier } = await openLibrary(product);
    const id = await insertAccount(product.database, { tiers: 1, pics: 0 });
    const [tier] = await product.database.query<{ id: string }>(
      "select id from m_account_package_tier",
    );
    const tierId = tier?.id ?? "";
    await updatePackageTier(tierId, { uuid_be: "by-hand" });

    const retried = await retryFailedUpdates(
      {
        success: false,
        updatedRecords: [],
        errors: ["x"],
        summary: { totalUpdated: 0, totalErrors: 1 },
        failedUpdates: [{ type: "tier", id: tierId, uuidBe: "of-the-api" }],
      },
      { id },
    );

    expect(retried).toMatchObject({
      success: false,
      errors: [
        `Failed to update tier UUID: it has a different external id already, which was kept (${tierId})`,
      ],
      failedUpdates: [{ type: "tier", id: tierId, uuidBe: "of-the-api" }],
    });
    expect((await externalIds(product.database, id)).tiers).toEqual(["by-hand"]);
  });

  test("nor by a call: the one that stands is kept, and the result says so", async () => {
    const { syncCustomerToExternalApi } = await openLibrary(product);
    const id = await insertAccount(product.database, { tiers: 0, pics: 0 });
    const data = await accountDataOf(product.database, id);
    await syncCustomerToExternalApi(data);
    const { account } = await externalIds(product.database, id);
    product.sandbox.setFaults({ next: [{ body: { customer: { data: { id: "another" } } } }] });

    const result = await syncCustomerToExternalApi(data);

    expect(result).toMatchObject({
      success: true,
      processingResult: {
        success: false,
        updatedRecords: [],
        errors: [
          "Failed to update account UUID: it has a different external id already, which was kept",
        ],
        failedUpdates: [{ type: "customer", id, uuidBe: "another" }],
      },
    });
    expect(await externalIds(product.database, id)).toMatchObject({ account });
  });

  test("from an answer that came some other way are matched and written", async () => {
    const { processExternalApiResponse } = await openLibrary(product);
    const id = await insertAccount(product.database, { tiers: 2, pics: 1 });
    const data = await accountDataOf(product.database, id);

    const result = await processExternalApiResponse(
      {
        data: {
          customer: { data: { id: "ext-c" } },
          branch: { data: { id: "ext-b" } },
          tier: { data: [{ id: 1 }, { id: 2 }] },
          crew: { data: [{ id: "ext-p" }], failed: 0 },
        },
      },
      data,
      "siti",
    );
    const refused = await processExternalApiResponse({ success: false, error: "no" }, data);

    expect(result).toMatchObject({ success: true, summary: { totalUpdated: 3, totalErrors: 0 } });
    expect(await externalIds(product.database, id)).toEqual({
      account: "ext-c",
      branch: "ext-b",
      tiers: ["1", "2"],
      pics: ["ext-p"],
      updatedBy: "siti",
    });
    expect(refused).toMatchObject({ success: false, error: "The API refused: no" });
    expect(product.requests()).toEqual([]);
  });
});

describe("a single id", () => {
  test("is written, kept when another one stands, and replaced when that is asked for", async () => {
    const { updateAccount, updatePackageTier, updateAccountPIC } = await openLibrary(product);
    const id = await insertAccount(product.database, { tiers: 1, pics: 1 });
    const [tier] = await product.database.query<{ id: string }>(
      "select id from m_account_package_tier",
    );
    const [pic] = await product.database.query<{ id: string }>("select id from m_account_pic");

    const changes = await product.database.query("select from account_sync.change");
    const written = await updateAccount(id, { uuid_be: "one", updated_by: "siti" });
    const kept = await updateAccount(id, { uuid_be: "two" });
    const replaced = await updateAccount(id, { uuid_be: 3, replace: true });
    await updatePackageTier(tier?.id.toUpperCase() ?? "", { uuid_be: "tier" });
    await updateAccountPIC(pic?.id ?? "", { uuid_be: "pic" });
    const nobody = await updateAccount(crypto.randomUUID(), { uuid_be: "one" });
    // As a caller's own JSON.parse reads 12345678901234567891.
    const inexact = await updateAccount(id, { uuid_be: 12345678901234567000, replace: true });

    expect(written).toEqual({ success: true, id, uuidBe: "one", updatedAt: expect.any(String) });
    expect(kept).toMatchObject({ success: false, error: expect.stringContaining("different") });
    expect(replaced).toMatchObject({ success: true, uuidBe: "3" });
    expect(nobody).toMatchObject({ success: false, error: "there is no such row" });
    expect(inexact).toMatchObject({ success: false, error: expect.stringContaining("2^53") });
    expect(await externalIds(product.database, id)).toMatchObject({
      account: "3",
      tiers: ["tier"],
      pics: ["pic"],
    });
    // Ours, so no change.
    expect(await product.database.query("select from account_sync.change")).toEqual(changes);
  });
});

describe("beside a daemon", () => {
  test("what was pending is delivered although the caller's data were older", async () => {
    const library = await openLibrary(product);
    const id = await insertAccount(product.database, { tiers: 0, pics: 0 });
    const old = await accountDataOf(product.database, id);
    await product.database.query("update m_account set name = 'Toko Baru' where id = $1", [id]);
    await product.database.query(
      `insert into account_sync.account (account_id, lane, changed_at, last_changed_at, due_at)
       values ($1, 'change', now(), now(), now() + interval '1 s')`,
      [id],
    );

    const result = await library.syncCustomerToExternalApi(old);
    await product.start();
    await eventually(async () => expect(await isAtRest(product.database)).toBe(true));

    expect(result).toMatchObject({ success: true });
    expect(product.requests().map(nameOf)).toEqual(["Toko Uji", "Toko Baru"]);
  });

  test("what was pending is not sent once more when the caller's data are the rows'", async () => {
    const library = await openLibrary(product);
    const id = await insertAccount(product.database, { tiers: 2, pics: 2 });

    await library.syncCustomerToExternalApi(await accountDataOf(product.database, id));
    await product.start();
    await eventually(async () => expect(await isAtRest(product.database)).toBe(true));

    expect(product.requests()).toHaveLength(1);
  });

  test("an answer that a process left in the journal is written before the caller's data go out", async () => {
    const library = await openLibrary(product);
    const id = await insertAccount(product.database, { tiers: 0, pics: 0 });
    await product.database.query(
      `insert into account_sync.attempt (account_id, generation, trigger, operation, delivery, idempotency_key, body, sent, fingerprint, received)
       values ($1::text, 1, 'change', 'create', 'answered', gen_random_uuid(), '{}',
         json_build_object('accountId', $1::text, 'externalId', null, 'branchExternalId', null, 'tiers', '[]'::json, 'pics', '[]'::json),
         'x', '{"customer": "ext-journaled", "branch": null, "tiers": [], "pics": [], "problems": []}')`,
      [id],
    );

    const result = await library.syncCustomerToExternalApi(
      await accountDataOf(product.database, id),
    );

    expect(await externalIds(product.database, id)).toMatchObject({ account: "ext-journaled" });
    expect(product.requests().map(({ operation }) => operation)).toEqual(["update"]);
    expect(result).toMatchObject({ success: false, details: { httpStatus: 404 } });
  });
});

test("to close it finishes what is under way, gives up what waits, and may be said twice", async () => {
  const library = await openLibrary(product);
  const id = await insertAccount(product.database, { tiers: 1, pics: 1 });
  const data = await accountDataOf(product.database, id);
  product.sandbox.setFaults({ next: [{ delayMs: 60_000 }] });
  const underWay = library.syncCustomerToExternalApi(data);
  const waiting = library.syncCustomerToExternalApi(data);
  await eventually(() => expect(product.sandbox.counts().inWork).toBe(1));

  const closing = Promise.all([library.close(), library.close()]);
  product.sandbox.clearFaults();
  await closing;

  expect(await underWay).toMatchObject({ success: true, processingResult: { success: true } });
  expect(await waiting).toMatchObject({ success: false, error: expect.stringMatching(/closed/) });
  expect(await library.syncCustomerToExternalApi(data)).toMatchObject({ success: false });
  expect(await stateOf(id)).toBe("clean");
  expect(product.requests()).toHaveLength(1);
});

test("a call that is still being prepared when the library is closed is told so, and sends nothing", async () => {
  const library = await openLibrary(product);
  const id = await insertAccount(product.database);
  const data = await accountDataOf(product.database, id);

  const preparing = [
    library.syncCustomerToExternalApi(data),
    library.syncCustomerToExternalApi({ ...data, uuid_be: "adopted" }),
  ];
  await library.close();
  const afterwards = library.updateAccount(id, { uuid_be: "late" });

  for (const result of await Promise.all(preparing))
    expect(result).toMatchObject({
      success: false,
      error: "Database Error: account-sync was closed",
    });
  expect(await afterwards).toMatchObject({ error: "Database Error: account-sync was closed" });
  expect(product.requests()).toEqual([]);
});

test("calls for one account go one after the other, and each is answered", async () => {
  const { syncCustomerToExternalApi } = await openLibrary(product);
  const id = await insertAccount(product.database, { tiers: 0, pics: 0 });
  const data = await accountDataOf(product.database, id);

  const results = await Promise.all(
    Array.from({ length: 20 }, (_, n) => syncCustomerToExternalApi({ ...data, name: `Toko ${n}` })),
  );

  expect(results.filter(({ success }) => !success)).toEqual([]);
  expect(product.sandbox.counts()).toMatchObject({
    overlapping: 0,
    byOperation: { create: 1, update: 19 },
  });
});

describe("the way in", () => {
  const opened: { close(): Promise<void> }[] = [];
  afterEach(async () => {
    for (const library of opened.splice(0)) await library.close();
  });

  test("refuses a database that was not migrated, and says what to do", async () => {
    const database = await createDatabase();

    await expect(createAccountSync({ database: database.url, log: false })).rejects.toMatchObject({
      name: "OperatorError",
      message: expect.stringContaining("no schema account_sync"),
      hint: expect.stringContaining("migrate"),
    });
  });

  test("names every option that is wrong", async () => {
    await expect(
      createAccountSync({
        database: "mysql://somewhere",
        api: { url: "https://api.example.com", clientId: "one", timeoutMs: -1 },
      }),
    ).rejects.toThrow(/DATABASE_URL[\s\S]*CUSTOMER_API_TIMEOUT_MS/);
  });

  test("without an API a call says what is missing, and nothing else is harmed", async () => {
    const library = await createAccountSync({ database: product.database.url, log: false });
    opened.push(library);
    const id = await insertAccount(product.database);

    const result = await library.syncCustomerToExternalApi(
      await accountDataOf(product.database, id),
    );

    expect(result).toMatchObject({
      success: false,
      error: expect.stringMatching(/^External API Error: .*CUSTOMER_API_URL/),
    });
  });

  test("pure functions say what would be sent and what is wrong with it, by the input alone", async () => {
    const { transformCustomerData, validateCustomerData } = await openLibrary(product);

    const command = transformCustomerData({ id: 7, name: "Toko", phone_no: "0812-3456-7890" });
    const validation = validateCustomerData({ id: 7, name: "", email: "none" });

    expect(command).toMatchObject({
      customer: { name: "Toko", msisdn: "+6281234567890" },
      tier: [],
    });
    expect(() => transformCustomerData({ name: "x" } as never)).toThrow(/^id must be an id/);
    expect(() => transformCustomerData({ id: 2 ** 53, name: "x" })).toThrow(/^id must be an id/);
    expect(() => transformCustomerData({ id: 1, uuid_be: 2 ** 64 })).toThrow(/^uuid_be must be/);
    expect(validation).toMatchObject({
      isValid: false,
      errors: [{ field: "customer.name" }, { field: "customer.email" }, { field: "branch.name" }],
    });
  });
});

async function everything(): Promise<unknown> {
  const tables = ["m_account", "m_account_package_tier", "m_account_pic"];
  const ours = ["account", "attempt", "change"].map((table) => `account_sync.${table}`);
  return await Promise.all(
    [...tables, ...ours].map((table) => product.database.query(`select * from ${table}`)),
  );
}

async function stateOf(id: string): Promise<string | undefined> {
  const [row] = await product.database.query<{ state: string }>(
    "select state from account_sync.status where account_id = $1",
    [id],
  );
  return row?.state;
}

/** As a trigger of the application might. */
async function refuseTierIds(): Promise<void> {
  await product.database.query(
    `create function refuse() returns trigger language plpgsql as $$ begin raise exception 'no'; end $$`,
  );
  await product.database.query(
    "create trigger refuse before update of uuid_be on m_account_package_tier for each row execute function refuse()",
  );
}

function nameOf({ body }: { readonly body: unknown }): string {
  return (body as { customer: { name: string } }).customer.name;
}
