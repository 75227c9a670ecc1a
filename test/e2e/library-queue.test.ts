/** After a call, queue and history say the same, and what a daemon does about it is what is left to be done. */
import { Writable } from "node:stream";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { createLog } from "../../src/ops/log.ts";
import { insertAccount } from "../support/accounts.ts";
import { isAtRest } from "../support/audit.ts";
import { eventually } from "../support/eventually.ts";
import { accountDataOf, openLibrary, settleByDaemon } from "../support/library.ts";
import { createProduct, type Product } from "../support/product.ts";

let product: Product;

beforeEach(async () => {
  product = await createProduct({ database: { migrated: true } });
});

afterEach(() => {
  vi.unstubAllEnvs();
});

test("a call whose data are older than the rows, which the API had, is followed by the rows", async () => {
  const { syncCustomerToExternalApi } = await openLibrary(product);
  const id = await insertAccount(product.database, { tiers: 0, pics: 0 });
  const old = await accountDataOf(product.database, id);
  await product.database.query("update m_account set name = 'Toko Baru' where id = $1", [id]);
  await settleByDaemon(product);

  const result = await syncCustomerToExternalApi(old);

  expect(result).toMatchObject({ success: true });
  expect(await queueAndHistory(id)).toEqual({ state: "due", outcome: "synced" });
  await settleByDaemon(product);
  expect(product.requests().map(nameOf)).toEqual(["Toko Baru", "Toko Uji", "Toko Baru"]);
  expect(await queueAndHistory(id)).toEqual({ state: "clean", outcome: "synced" });
});

test("an account that is pushed by calls on purpose, with other data than its rows, is clean", async () => {
  const { syncCustomerToExternalApi } = await openLibrary(product);
  const id = await insertAccount(product.database, { tiers: 0, pics: 0 });
  await forgetWhatWasCaptured();

  await syncCustomerToExternalApi({ id, name: "Satu" });
  await syncCustomerToExternalApi({ id, name: "Dua" });

  expect(await queueAndHistory(id)).toEqual({ state: "clean", outcome: "synced" });
  await settleByDaemon(product);
  expect(product.requests().map(nameOf)).toEqual(["Satu", "Dua"]);
});

test("an account that the API refused is parked, whatever its rows hold, until it changes", async () => {
  const { syncCustomerToExternalApi } = await openLibrary(product);
  const id = await insertAccount(product.database, { tiers: 0, pics: 0 });
  const data = await accountDataOf(product.database, id);
  await syncCustomerToExternalApi(data);
  product.sandbox.setFaults({ next: [refusal, refusal] });

  for (const name of ["Diambil", "Diambil Lagi"]) {
    expect(await syncCustomerToExternalApi({ ...data, name })).toMatchObject({ success: false });
    expect(await queueAndHistory(id)).toEqual({ state: "parked", outcome: "parked" });
  }

  const daemon = await product.start();
  await eventually(async () => expect(await isAtRest(product.database)).toBe(true));
  expect(product.requests()).toHaveLength(3);
  await product.database.query("update m_account set name = 'Toko Baru' where id = $1", [id]);
  await eventually(async () =>
    expect(await queueAndHistory(id)).toEqual({ state: "clean", outcome: "synced" }),
  );
  await daemon.stop("enough");
  expect(product.requests().map(nameOf).at(-1)).toBe("Toko Baru");
});

test("what changes while the API refuses goes out", async () => {
  const { syncCustomerToExternalApi } = await openLibrary(product);
  const id = await insertAccount(product.database, { tiers: 0, pics: 0 });
  const data = await accountDataOf(product.database, id);
  product.sandbox.setFaults({ next: [{ ...refusal, delayMs: 500 }] });

  const calling = syncCustomerToExternalApi(data);
  await eventually(() => expect(product.sandbox.counts().inWork).toBe(1));
  await product.database.query("update m_account set name = 'Toko Baru' where id = $1", [id]);
  const result = await calling;
  await settleByDaemon(product);

  expect(product.requests().map(nameOf)).toEqual(["Toko Uji", "Toko Baru"]);
  expect(await queueAndHistory(id)).toEqual({ state: "clean", outcome: "synced" });
  expect(result.customerData).toMatchObject({ customer: { name: "Toko Uji" } });
});

test("a sync that a person asks for while the API refuses is done", async () => {
  const { syncCustomerToExternalApi } = await openLibrary(product);
  const id = await insertAccount(product.database, { tiers: 0, pics: 0 });
  const data = await accountDataOf(product.database, id);
  product.sandbox.setFaults({ next: [{ ...refusal, delayMs: 500 }] });

  const calling = syncCustomerToExternalApi(data);
  await eventually(() => expect(product.sandbox.counts().inWork).toBe(1));
  await product.database.query("select account_sync.request($1)", [id]);
  expect(await calling).toMatchObject({ success: false, details: { httpStatus: 422 } });
  await settleByDaemon(product);

  expect(product.requests()).toHaveLength(2);
  expect(await queueAndHistory(id)).toEqual({ state: "clean", outcome: "synced" });
});

test("a call that could not reach the API is retrying in both, and a daemon repeats it", async () => {
  const { syncCustomerToExternalApi } = await openLibrary(product);
  const id = await insertAccount(product.database, { tiers: 0, pics: 0 });
  product.sandbox.setFaults({ next: [{ status: 429 }] });

  const result = await syncCustomerToExternalApi(await accountDataOf(product.database, id));

  expect(result).toMatchObject({ success: false, details: { errorClass: "throttled" } });
  expect(await queueAndHistory(id)).toEqual({ state: "retrying", outcome: "retry" });
});

test("the ids of one send do not settle a later one", async () => {
  const { syncCustomerToExternalApi, retryFailedUpdates } = await openLibrary(product);
  const id = await insertAccount(product.database, { tiers: 0, pics: 0 });
  const data = await accountDataOf(product.database, id);
  product.sandbox.setFaults({ next: [{ dropConnection: "after" }] });
  await syncCustomerToExternalApi(data);

  await retryFailedUpdates(
    {
      success: false,
      updatedRecords: [],
      errors: ["x"],
      summary: { totalUpdated: 0, totalErrors: 1 },
      failedUpdates: [{ type: "customer", id, uuidBe: "c", idempotencyKey: crypto.randomUUID() }],
    },
    { id },
  );

  expect(await stateOf(id)).toEqual({ state: "parked", error_class: "unknown_outcome" });
});

test("the steps of a call stand in the log, in their order and without a personal value", async () => {
  const lines: { msg: string; [field: string]: unknown }[] = [];
  const destination = new Writable({
    write(chunk, _encoding, done) {
      lines.push(
        ...String(chunk)
          .trim()
          .split("\n")
          .map((line) => JSON.parse(line)),
      );
      done();
    },
  });
  const log = createLog({ level: "info", format: "json", destination });
  const { syncCustomerToExternalApi } = await openLibrary(product, { log });
  const id = await insertAccount(product.database, { tiers: 2, pics: 1 });

  await syncCustomerToExternalApi(await accountDataOf(product.database, id));

  const steps = lines.filter((line) => line["account_id"] === id && line.msg !== "account synced");
  expect(steps.map(({ msg }) => msg)).toEqual([
    "starting the sync of an account",
    "sending to the customer API",
    "synced with the customer API",
    "processing the answer for the database",
    "customer id received",
    "customer updated",
    "tiers received",
    "tiers updated",
    "crew received",
    "crew updated",
    "database updates completed",
  ]);
  expect(steps.find(({ msg }) => msg === "tiers updated")).toMatchObject({
    total: 2,
    successful: 2,
    failed: 0,
  });
  expect(JSON.stringify(lines)).not.toMatch(/Toko Uji|Budi/);
});

const refusal = { status: 422, body: { error: "name is taken" } };

/** As where the account was there before the first migrate. */
async function forgetWhatWasCaptured(): Promise<void> {
  await product.database.query("delete from account_sync.change");
}

/**
 * What ended last is the word of the history. Not what began last: a call that fails in an unforeseen way is recorded with the time that it
 * took, reckoned back from when it is written, which on a busy machine comes out after the start of its own send.
 */
async function queueAndHistory(id: string): Promise<unknown> {
  const [row] = await product.database.query(
    `select s.state, (select outcome from account_sync.history h where h.account_id = s.account_id order by finished_at desc limit 1)
     from account_sync.status s where s.account_id = $1`,
    [id],
  );
  return row;
}

async function stateOf(id: string): Promise<unknown> {
  const [row] = await product.database.query(
    "select state, error_class from account_sync.status where account_id = $1",
    [id],
  );
  return row;
}

function nameOf({ body }: { readonly body: unknown }): string {
  return (body as { customer: { name: string } }).customer.name;
}
