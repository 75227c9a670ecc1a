/** Parents before children. */
import { expect, test } from "vitest";
import { externalIds, insertAccount } from "../support/accounts.ts";
import { eventually } from "../support/eventually.ts";
import { createProduct } from "../support/product.ts";

test("a child waits for its parent, and is sent with the parent's id as soon as that stands", async () => {
  const product = await createProduct();
  const daemon = await product.start();
  product.sandbox.setFaults({ next: [{ delayMs: 60_000 }] });
  const parent = await insertAccount(product.database, { name: "Parent", tiers: 0, pics: 0 });
  await eventually(() => expect(product.sandbox.counts().inWork).toBe(1));

  const child = await insertAccount(product.database, {
    name: "Child",
    parentId: parent,
    tiers: 0,
    pics: 0,
  });
  await eventually(async () =>
    expect(await daemon.metric("runs_total", { outcome: "blocked" })).toBe(1),
  );
  const startedAt = performance.now();
  product.sandbox.clearFaults();
  await eventually(async () =>
    expect((await externalIds(product.database, child)).account).not.toBeNull(),
  );

  expect(performance.now() - startedAt).toBeLessThan(5_000);
  expect(product.requests().map((request) => request.body)).toMatchObject([
    { customer: { name: "Parent", parent_id: null } },
    {
      customer: { name: "Child", parent_id: (await externalIds(product.database, parent)).account },
    },
  ]);
});

test("accounts that are each other's parents are named and keep waiting; mending one sends both", async () => {
  const product = await createProduct();
  const daemon = await product.start();
  const first = await insertAccount(product.database, { name: "First", tiers: 0, pics: 0 });
  await eventually(async () =>
    expect((await externalIds(product.database, first)).account).not.toBeNull(),
  );
  await product.database.query("select account_sync.forget($1)", [first]);

  const second = await insertAccount(product.database, {
    name: "Second",
    parentId: first,
    tiers: 0,
    pics: 0,
  });
  await product.database.query('update m_account set "parentId" = $1 where id = $2', [
    second,
    first,
  ]);
  await eventually(async () => {
    const rows = await product.database.query(
      "select error from account_sync.status where state = 'blocked'",
    );
    expect(rows).toHaveLength(2);
    for (const row of rows)
      expect(row["error"]).toMatch(new RegExp(`${first}.*${second}|${second}.*${first}`));
  });
  expect(product.requests()).toHaveLength(1);

  await product.database.query('update m_account set "parentId" = null where id = $1', [first]);
  await eventually(async () =>
    expect((await externalIds(product.database, second)).account).not.toBeNull(),
  );
  await eventually(async () =>
    expect(await daemon.metric("pending_accounts", { state: "blocked" })).toBe(0),
  );
});

test("three generations that come in one statement, the youngest first, are sent in their order", async () => {
  const product = await createProduct();
  await product.start();

  await product.database.query(
    `insert into m_account (id, account_no, name, phone_no, email, "parentId") values
       ('00000000-0000-4000-8000-000000000001', 'A-3', 'Grandchild', '081234567890', '', '00000000-0000-4000-8000-000000000002'),
       ('00000000-0000-4000-8000-000000000002', 'A-2', 'Child', '081234567890', '', '00000000-0000-4000-8000-000000000003'),
       ('00000000-0000-4000-8000-000000000003', 'A-1', 'Parent', '081234567890', '', null)`,
  );
  await eventually(() => expect(product.requests()).toHaveLength(3));

  expect(product.requests().map(({ code }) => code)).toEqual(["A-1", "A-2", "A-3"]);
  const idOf = (code: string) =>
    product.sandbox.customers().find((customer) => customer.code === code)?.id;
  expect(product.requests().map(({ body }) => body)).toMatchObject([
    { customer: { parent_id: null } },
    { customer: { parent_id: idOf("A-1") } },
    { customer: { parent_id: idOf("A-2") } },
  ]);
});

test("an account that is its own parent is named and waits", async () => {
  const product = await createProduct();
  await product.start();
  const id = crypto.randomUUID();

  await product.database.query(
    `insert into m_account (id, account_no, name, phone_no, email, "parentId") values ($1, 'A-1', 'Alone', '081234567890', '', $1)`,
    [id],
  );

  await eventually(async () => {
    const [row] = await product.database.query(
      "select error from account_sync.status where state = 'blocked'",
    );
    expect(row?.["error"]).toContain(`The account ${id} is its own parent`);
  });
  expect(product.requests()).toEqual([]);
});
