/** The functions as they are imported, without set-up: in processes of their own, as an application has them. */
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { beforeEach, expect, test } from "vitest";
import { migrate } from "../../src/db/migrate.ts";
import { createImportedFunctions } from "../../src/library/imported-functions.ts";
import { externalIds, insertAccount } from "../support/accounts.ts";
import { eventually } from "../support/eventually.ts";
import { createDatabase } from "../support/postgres.ts";
import { apiEnvironment, createProduct, type Product } from "../support/product.ts";

let product: Product;

beforeEach(async () => {
  product = await createProduct({ database: { migrated: true } });
});

const index = new URL("../../src/index.ts", import.meta.url);

test("an application that calls once gets its result and ends by itself, its signals untouched", async () => {
  const id = await insertAccount(product.database, { tiers: 1, pics: 1 });

  const { stdout, stderr } = await runScript(
    `import { syncCustomerToExternalApi, retryFailedUpdates } from ${JSON.stringify(index.href)};
     const result = await syncCustomerToExternalApi({ id: ${JSON.stringify(id)}, name: "Toko" }, null, "siti");
     const signals = ["SIGINT", "SIGTERM", "uncaughtException", "unhandledRejection"];
     console.log(JSON.stringify({ result, listeners: signals.map((name) => process.listenerCount(name)) }));`,
  );

  expect(stderr).toBe("");
  expect(JSON.parse(stdout)).toMatchObject({
    result: { success: true, processingResult: { success: true } },
    listeners: [0, 0, 0, 0],
  });
  expect(await externalIds(product.database, id)).toMatchObject({ updatedBy: "siti" });
  expect(await sessions()).toBe(0);
});

test("a CommonJS application looks in debug mode first, then sends; what is pure answers at once", async () => {
  const id = await insertAccount(product.database, { tiers: 0, pics: 0 });

  const { stdout } = await runScript(
    `const { syncCustomerToExternalApi, transformCustomerData, validateCustomerData } = require(${JSON.stringify(index.pathname)});
     const data = { id: ${JSON.stringify(id)}, name: "Toko", email: "toko@example.com" };
     console.log(validateCustomerData(data).isValid, transformCustomerData(data).customer.name);
     syncCustomerToExternalApi(data, null, "siti", null, true)
       .then(({ validationResult }) => validationResult.isValid && syncCustomerToExternalApi(data, null, "siti", null, false))
       .then(({ success }) => console.log(success));`,
    { as: "commonjs" },
  );

  expect(stdout).toBe("true Toko\ntrue\n");
  expect(product.requests()).toHaveLength(1);
});

test("calls that come together share one instance", async () => {
  const ids: string[] = [];
  for (let n = 0; n < 6; n += 1)
    ids.push(await insertAccount(product.database, { accountNo: `A-${n}`, tiers: 0, pics: 0 }));
  product.sandbox.setFaults({ always: { delayMs: 60_000 } });

  const running = runScript(
    `import { syncCustomerToExternalApi } from ${JSON.stringify(index.href)};
     const calls = ${JSON.stringify(ids)}.map((id) => syncCustomerToExternalApi({ id, name: "Toko" }));
     console.log((await Promise.all(calls)).map(({ success }) => success).join());`,
    { environment: { DATABASE_POOL_MAX: "3" } },
  );
  await eventually(() => expect(product.sandbox.counts().inWork).toBe(6));
  const open = await sessions();
  product.sandbox.clearFaults();

  expect((await running).stdout).toBe("true,true,true,true,true,true\n");
  expect(open).toBeLessThanOrEqual(3);
});

test("a wrong environment is one clear error, in the result of each function", async () => {
  const environment = { DATABASE_URL: "mysql://somewhere", CUSTOMER_API_TIMEOUT_MS: "-1" };
  const library = createImportedFunctions(environment);
  const data = { id: 1, name: "Toko" };
  const message = /^Configuration Error: .*DATABASE_URL.*CUSTOMER_API_TIMEOUT_MS[^\n]*$/;
  const error = expect.stringMatching(message) as string;
  const failed = { success: false, updatedRecords: [], errors: ["x"] };
  const summary = { totalUpdated: 0, totalErrors: 1 };
  const failedUpdates = [{ type: "tier" as const, id: "2", uuidBe: "t" }];

  expect(await library.syncCustomerToExternalApi(data)).toStrictEqual({
    success: false,
    error,
    customerData: null,
  });
  expect(await library.syncCustomerToExternalApi(data, null, null, null, true)).toMatchObject({
    validationResult: { isValid: false, errors: [{ field: "configuration", message: error }] },
  });
  expect(await library.debugCustomerData(data)).toMatchObject({ success: false });
  expect(await library.previewCustomerData(data)).toMatchObject({ success: false });
  for (const update of [library.updateAccount, library.updatePackageTier, library.updateAccountPIC])
    expect(await update(1, { uuid_be: "x" })).toMatchObject({ success: false, id: "1", error });
  expect(
    await library.retryFailedUpdates({ ...failed, summary, failedUpdates }, data),
  ).toMatchObject({ success: false, error, failedUpdates });
  expect(await library.processExternalApiResponse({}, data)).toMatchObject({ error });
  expect(library.validateCustomerData(data)).toMatchObject({ errors: [{ message: error }] });
  expect(() => library.transformCustomerData(data)).toThrow(/DATABASE_URL/);
  await expect(library.getAvailableBackendConfigs()).rejects.toThrow(/DATABASE_URL/);
});

test("an opening that failed is tried again by the next call", async () => {
  const database = await createDatabase();
  const id = await insertAccount(database, { tiers: 0, pics: 0 });
  const { syncCustomerToExternalApi } = createImportedFunctions({
    DATABASE_URL: database.url,
    ...apiEnvironment(product.sandbox),
  });

  const before = await syncCustomerToExternalApi({ id, name: "Toko" });
  await migrate({ url: database.url, info: () => {} });
  const after = await syncCustomerToExternalApi({ id, name: "Toko" });

  expect(before).toMatchObject({
    success: false,
    error: expect.stringMatching(/^Database Error: .*no schema account_sync.*migrate/),
    customerData: { customer: { name: "Toko" } },
  });
  expect(after).toMatchObject({ success: true });
});

async function runScript(
  script: string,
  {
    as = "module",
    environment = {},
  }: { readonly as?: "module" | "commonjs"; readonly environment?: Record<string, string> } = {},
): Promise<{ readonly stdout: string; readonly stderr: string }> {
  return await promisify(execFile)(process.execPath, [`--input-type=${as}`, "-e", script], {
    env: {
      PATH: process.env["PATH"],
      DATABASE_URL: product.database.url,
      ...apiEnvironment(product.sandbox),
      ...environment,
    },
    timeout: 30_000,
  });
}

async function sessions(): Promise<number> {
  const [row] = await product.database.query<{ count: number }>(
    "select count(*)::int from pg_stat_activity where datname = current_database() and application_name like 'account-sync %'",
  );
  return row?.count ?? -1;
}
