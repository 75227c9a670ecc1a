/** Removed rows: a tier or a contact person that is taken away, and a whole account, with its customer or without. */
import { expect, test } from "vitest";
import { externalIds, insertAccount } from "../support/accounts.ts";
import { isAtRest } from "../support/audit.ts";
import { eventually } from "../support/eventually.ts";
import { createProduct, type Product } from "../support/product.ts";

test("a tier that is removed, softly or for good, and a contact person that is deleted send the account again without them", async () => {
  const { product, id } = await syncedAccount();

  await product.database.query(
    "update m_account_package_tier set is_active = false where account_id = $1 and min_value = 0",
    [id],
  );
  await requestsAre(product, 2);
  await product.database.query("delete from m_account_package_tier where min_value = 1000");
  await requestsAre(product, 3);
  await product.database.query("delete from m_account_pic where name = 'Budi Uji 1'");
  await requestsAre(product, 4);

  const sent = product.requests().map(({ body }) => body as Sent);
  expect(sent.map(({ tier }) => tier.length)).toEqual([2, 1, 0, 0]);
  expect(sent.map((command) => command["customer-crew"].map(({ name }) => name))).toEqual([
    ["Budi Uji 1", "Budi Uji 2"],
    ["Budi Uji 1", "Budi Uji 2"],
    ["Budi Uji 1", "Budi Uji 2"],
    ["Budi Uji 2"],
  ]);
});

test("a contact person that moves to another account sends both", async () => {
  const { product, id } = await syncedAccount();
  const other = await insertAccount(product.database, { accountNo: "A-2", tiers: 0, pics: 0 });
  await requestsAre(product, 2);

  await product.database.query(
    "update m_account_pic set account_id = $2 where account_id = $1 and name = 'Budi Uji 2'",
    [id, other],
  );
  await requestsAre(product, 4);

  const last = product.requests().slice(2);
  const crewOf = (code: string) =>
    last
      .filter((request) => request.code === code)
      .map(({ body }) => (body as Sent)["customer-crew"].map(({ name }) => name));
  expect(crewOf("A-1")).toEqual([["Budi Uji 1"]]);
  expect(crewOf("A-2")).toEqual([["Budi Uji 2"]]);
});

test("a removed account is gone, and its customer stays", async () => {
  const { product, daemon, id } = await syncedAccount();

  await removeAccount(product, id);
  await eventually(async () =>
    expect(await daemon.metric("runs_total", { outcome: "gone" })).toBe(1),
  );

  expect(product.sandbox.customers()).toHaveLength(1);
  expect(product.sandbox.counts().byOperation.delete).toBe(0);
});

test("with ON_ACCOUNT_DELETE=delete its customer is deleted, also when the API is away at first", async () => {
  const { product, daemon, id } = await syncedAccount(
    { ON_ACCOUNT_DELETE: "delete" },
    { honourKeys: false },
  );
  const { account } = await externalIds(product.database, id);
  product.sandbox.setFaults({
    next: [
      { on: "delete", status: 503 },
      { on: "delete", dropConnection: "after" },
    ],
  });

  await removeAccount(product, id);
  await eventually(
    async () => expect(await daemon.metric("runs_total", { outcome: "gone" })).toBe(1),
    { timeoutMs: 15_000 },
  );

  expect(product.sandbox.customers()).toEqual([]);
  const deletes = product.requests().filter(({ operation }) => operation === "delete");
  // Not taken, taken and not answered, not there any more: done.
  expect(deletes.map(({ status }) => status)).toEqual([503, null, 404]);
  expect(deletes.map(({ path }) => path)).toEqual(
    Array(3).fill(`/api/customer/command/${account}`),
  );
  expect(new Set(deletes.map(({ key }) => key)).size).toBe(1);
  expect(await daemon.metric("api_requests_total", { operation: "delete" })).toBe(3);
  const history = await product.database.query(
    "select outcome, http_status from account_sync.history where account_id = $1 order by started_at desc limit 1",
    [id],
  );
  expect(history).toEqual([{ outcome: "gone", http_status: 404 }]);
  expect(await isAtRest(product.database)).toBe(true);
});

test("a removed account's delete survives the daemon, and needs none while it happens", async () => {
  const { product, daemon, id } = await syncedAccount({ ON_ACCOUNT_DELETE: "delete" });
  await daemon.stop("to be away while it happens");

  await removeAccount(product, id);
  await product.start({ ON_ACCOUNT_DELETE: "delete" });

  await eventually(() => expect(product.sandbox.customers()).toEqual([]));
});

async function syncedAccount(
  environment: Readonly<Record<string, string>> = {},
  sandbox: { readonly honourKeys?: boolean } = {},
) {
  const product = await createProduct({ sandbox });
  const daemon = await product.start(environment);
  const id = await insertAccount(product.database);
  await eventually(async () =>
    expect(await daemon.metric("runs_total", { outcome: "synced" })).toBe(1),
  );
  return { product, daemon, id };
}

interface Sent {
  readonly tier: readonly unknown[];
  readonly "customer-crew": readonly { readonly name: string }[];
}

async function requestsAre(product: Product, count: number): Promise<void> {
  await eventually(() => expect(product.requests()).toHaveLength(count));
  await eventually(async () => expect(await isAtRest(product.database)).toBe(true));
}

/** As an application does it: what points to it first. */
async function removeAccount({ database }: Product, id: string): Promise<void> {
  await database.query(
    "with pics as (delete from m_account_pic where account_id = $1) delete from m_account_package_tier where account_id = $1",
    [id],
  );
  await database.query("delete from m_account where id = $1", [id]);
}
