/** A change reaches the API as one request, and the ids in the answer stand on the right rows. */
import { expect, test } from "vitest";
import { externalIds, insertAccount } from "../support/accounts.ts";
import { eventually } from "../support/eventually.ts";
import { createProduct } from "../support/product.ts";

test("an account with two tiers and two PICs becomes one POST, and every row gets its id", async () => {
  const product = await createProduct();
  const daemon = await product.start();

  const id = await insertAccount(product.database);
  await eventually(async () =>
    expect(await daemon.metric("runs_total", { outcome: "synced" })).toBe(1),
  );

  const address = {
    building: "",
    street: "",
    region: "",
    city: "",
    state: "",
    country: "Indonesia",
    zip_code: "",
  };
  const tier = {
    tier_type: "percentage",
    tier_category: "discount",
    valid_from: "2026-01-01T00:00:00",
    valid_to: "2026-12-31T23:59:59",
  };
  expect(product.requests()).toHaveLength(1);
  const [request] = product.requests();
  expect(request).toMatchObject({ method: "POST", path: "/api/customer/command", status: 201 });
  expect(request?.body).toEqual({
    customer: {
      name: "Toko Uji",
      email: "toko@example.com",
      msisdn: "+6281234567890",
      address,
      customer_role: "branch",
      parent_id: null,
      customer_type: "INDIVIDUAL",
      ktp: "3171234567890123",
      npwp: "12.345.678.9-012.345",
    },
    tier: [
      { ...tier, min_amount: 0, max_amount: 1000, fee: 5.5 },
      { ...tier, min_amount: 1000, max_amount: 2000, fee: 4.5 },
    ],
    "customer-crew": [
      {
        ktp: "",
        npwp: "",
        name: "Budi Uji 1",
        msisdn: "+628121111221",
        email: "budi1@example.com",
        username: "budiuji1",
      },
      {
        ktp: "",
        npwp: "",
        name: "Budi Uji 2",
        msisdn: "+628121111222",
        email: "budi2@example.com",
        username: "budiuji2",
      },
    ],
    "beneficiary-account": null,
    branch: { name: "Toko Uji", code: "A-1", address },
  });

  const [customer] = product.sandbox.customers();
  expect(await externalIds(product.database, id)).toEqual({
    account: customer?.id,
    branch: customer?.branchId,
    tiers: customer?.tiers.map((item) => item.id),
    pics: customer?.crew.map((item) => item.id),
    updatedBy: "account-sync",
  });
});

test("an edit becomes one PUT that carries the ids", async () => {
  const product = await createProduct();
  const daemon = await product.start();
  const id = await insertAccount(product.database);
  await eventually(async () =>
    expect(await daemon.metric("runs_total", { outcome: "synced" })).toBe(1),
  );
  const ids = await externalIds(product.database, id);

  await product.database.query(
    "update m_account_pic set name = 'Budi Baru' where account_id = $1 and name = 'Budi Uji 1'",
    [id],
  );
  await eventually(async () =>
    expect(await daemon.metric("runs_total", { outcome: "synced" })).toBe(2),
  );

  expect(product.requests().map((request) => request.method)).toEqual(["POST", "PUT"]);
  const update = product.requests()[1];
  expect(update?.path).toBe(`/api/customer/command/${ids.account}`);
  expect(update?.body).toMatchObject({
    customer: { id: ids.account },
    branch: { id: ids.branch },
    tier: ids.tiers.map((tierId) => ({ id: tierId })),
    "customer-crew": [{ id: ids.pics[0], name: "Budi Baru" }, { id: ids.pics[1] }],
    "tier-assignment": { data: ids.tiers.map((tierId) => ({ id: tierId })) },
  });
  expect(await externalIds(product.database, id)).toEqual(ids);
});

test("a tier that is added later gets its id from the update, and the others keep theirs", async () => {
  const product = await createProduct();
  const daemon = await product.start();
  const id = await insertAccount(product.database, { tiers: 1, pics: 1 });
  await eventually(async () =>
    expect(await daemon.metric("runs_total", { outcome: "synced" })).toBe(1),
  );
  const before = await externalIds(product.database, id);

  await product.database.query(
    "insert into m_account_package_tier (account_id, min_value, max_value, amount, start_date, end_date) values ($1, 5000, 9000, 100, '2026-01-01', '2026-12-31')",
    [id],
  );
  await eventually(async () =>
    expect(await daemon.metric("runs_total", { outcome: "synced" })).toBe(2),
  );

  const after = await externalIds(product.database, id);
  expect(after.tiers).toEqual([before.tiers[0], product.sandbox.customers()[0]?.tiers[1]?.id]);
  expect(after.pics).toEqual(before.pics);
});

test("writing external ids, audit columns or nothing new causes no request", async () => {
  const product = await createProduct();
  const daemon = await product.start();
  const id = await insertAccount(product.database);
  await eventually(async () =>
    expect(await daemon.metric("runs_total", { outcome: "synced" })).toBe(1),
  );

  await product.database.query(
    "update m_account set uuid_be = uuid_be, updated_at = now(), updated_by = 'somebody' where id = $1",
    [id],
  );
  await product.database.query(
    "update m_account set branch_uuid_be = 'brn-by-hand' where id = $1",
    [id],
  );
  await product.database.query(
    "update m_account set name = name, email = email, updated_at = now() where id = $1",
    [id],
  );
  await product.database.query(
    "update m_account_pic set updated_at = now(), password = 'secret' where account_id = $1",
    [id],
  );
  // A change that counts, to know when the ones before would have been sent.
  const other = await insertAccount(product.database, { name: "Toko Lain" });
  await eventually(async () =>
    expect((await externalIds(product.database, other)).account).not.toBeNull(),
  );

  expect(product.requests().map((request) => request.method)).toEqual(["POST", "POST"]);
  // Two accounts of three captured statements each: account, tiers, PICs.
  expect(await daemon.metric("changes_total")).toBe(6);
});

test("the counters say what was updated, by entity", async () => {
  const product = await createProduct();
  const daemon = await product.start();

  await insertAccount(product.database, { tiers: 3, pics: 1 });
  await eventually(async () =>
    expect(await daemon.metric("updated_total", { entity: "account" })).toBe(1),
  );

  expect(await daemon.metric("updated_total", { entity: "tier" })).toBe(3);
  expect(await daemon.metric("updated_total", { entity: "pic" })).toBe(1);
  expect(await daemon.metric("failed_total")).toBe(0);
  expect(await daemon.metric("listener_up")).toBe(1);
  // The queue's gauges are up to a second old.
  await eventually(async () => expect(await daemon.metric("pending_accounts")).toBe(0));
});
