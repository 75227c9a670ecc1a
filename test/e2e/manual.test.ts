/** A person asks: NOTIFY in all its forms, and request() in SQL. */
import { expect, test } from "vitest";
import { startSandbox } from "../../src/local/sandbox.ts";
import { externalIds, insertAccount, insertAccounts } from "../support/accounts.ts";
import { isAtRest } from "../support/audit.ts";
import { eventually } from "../support/eventually.ts";
import { createProduct, type Product, type RunningDaemon } from "../support/product.ts";

test("NOTIFY with an account's id syncs it at once, although nothing changed", async () => {
  const { product, daemon, id } = await syncedAccount();

  await notify(product, id);
  await eventually(async () =>
    expect(await daemon.metric("runs_total", { trigger: "manual", outcome: "synced" })).toBe(1),
  );

  expect(product.requests().map((request) => request.method)).toEqual(["POST", "PUT"]);
});

test("NOTIFY in upper case means the same account", async () => {
  const { product, daemon, id } = await syncedAccount();

  await notify(product, id.toUpperCase());
  await eventually(async () =>
    expect(await daemon.metric("runs_total", { trigger: "manual", outcome: "synced" })).toBe(1),
  );

  const rows = await product.database.query("select account_id from account_sync.account");
  expect(rows).toEqual([{ account_id: id }]);
});

test("JSON names the user whose sync it is", async () => {
  const { product, id } = await syncedAccount();
  await product.database.query("update m_account set uuid_be = null where id = $1", [id]);

  await notify(product, JSON.stringify({ account_id: id, user_id: "siti" }));

  await eventually(async () =>
    expect((await externalIds(product.database, id)).updatedBy).toBe("siti"),
  );
});

test.each([
  [
    "NOTIFY",
    (id: string, configId: string) => [
      `notify account_sync, '${JSON.stringify({ account_id: id, config_id: configId })}'`,
    ],
  ],
  [
    "request()",
    (id: string, configId: string) => [
      `select account_sync.request('${id}', config_id => '${configId}')`,
    ],
  ],
])(
  "%s names the configuration that the account is created by, and stays with",
  async (_, toStatements) => {
    const product = await createProduct();
    const other = await startSandbox({ clientId: "other", clientSecret: "other-secret" });
    try {
      const [row] = await product.database.query<{ id: string }>(
        "insert into m_backend_ext_config (name, base_url, client_id, client_secret, is_active) values ('Elsewhere', $1, 'other', 'other-secret', true) returning id",
        [other.url],
      );
      await insertAccounts(product.database, 1);
      await product.start();
      const [account] = await product.database.query<{ id: string }>("select id from m_account");

      for (const statement of toStatements(account?.id ?? "", row?.id ?? ""))
        await product.database.query(statement);
      await eventually(() => expect(other.customers()).toHaveLength(1));
      await eventually(async () => expect(await isAtRest(product.database)).toBe(true));
      await product.database.query("update m_account set name = 'Toko Baru'");
      await eventually(() =>
        expect(other.history().map(({ operation }) => operation)).toEqual([
          "token",
          "create",
          "update",
        ]),
      );

      expect(product.requests()).toEqual([]);
    } finally {
      await other.close();
    }
  },
);

test("with force false an unchanged account is not sent again", async () => {
  const { product, daemon, id } = await syncedAccount();

  await notify(product, JSON.stringify({ account_id: id, force: false }));
  await eventually(async () =>
    expect(await daemon.metric("runs_total", { outcome: "unchanged" })).toBe(1),
  );

  expect(product.requests()).toHaveLength(1);
});

test("'*' marks every account, also those from before the first migrate", async () => {
  const product = await createProduct();
  await insertAccounts(product.database, 20);
  const daemon = await product.start();

  await notify(product, "*");
  await eventually(async () =>
    expect(await daemon.metric("runs_total", { trigger: "backfill", outcome: "synced" })).toBe(20),
  );

  expect(product.sandbox.customers()).toHaveLength(20);
});

test("garbage causes one warning each and nothing more", async () => {
  const { product, daemon, id } = await syncedAccount();
  const garbage = [
    "no id",
    "{",
    '{"account_id": 5}',
    '{"account_id": "", "force": 1}',
    "null",
    "x".repeat(7_999),
    `${id}x`,
  ];

  for (const payload of garbage) await notify(product, payload);
  await notify(product, "");
  await eventually(() =>
    expect(
      daemon.log.filter((line) => JSON.parse(line).msg === "notification ignored"),
    ).toHaveLength(garbage.length),
  );
  await notify(product, id);
  await eventually(async () =>
    expect(await daemon.metric("runs_total", { trigger: "manual", outcome: "synced" })).toBe(1),
  );

  expect(product.requests()).toHaveLength(2);
  expect(daemon.log.join("\n")).not.toContain("xxxxxxxxxx");
});

test("request() and changes made while no daemon runs are synced when one starts", async () => {
  const { product, daemon, id } = await syncedAccount();
  await daemon.stop("for the night");

  await product.database.query("select account_sync.request($1, user_id => 'night')", [id]);
  const other = await insertAccount(product.database, { name: "Toko Malam" });
  await product.start();

  await eventually(async () =>
    expect((await externalIds(product.database, other)).account).not.toBeNull(),
  );
  await eventually(() =>
    expect(
      product
        .requests()
        .map((request) => request.method)
        .sort(),
    ).toEqual(["POST", "POST", "PUT"]),
  );
});

test("request() for an id that does not exist ends as gone", async () => {
  const { product, daemon } = await syncedAccount();

  await product.database.query(
    "select account_sync.request('00000000-0000-4000-8000-000000000000')",
  );
  await product.database.query("select account_sync.request('not an id at all')");
  await eventually(async () =>
    expect(await daemon.metric("runs_total", { outcome: "gone" })).toBe(2),
  );

  expect(product.requests()).toHaveLength(1);
});

async function syncedAccount(): Promise<{ product: Product; daemon: RunningDaemon; id: string }> {
  const product = await createProduct();
  const daemon = await product.start();
  const id = await insertAccount(product.database, { tiers: 1, pics: 1 });
  await eventually(async () =>
    expect(await daemon.metric("runs_total", { outcome: "synced" })).toBe(1),
  );
  return { product, daemon, id };
}

async function notify(product: Product, payload: string): Promise<void> {
  await product.database.query("select pg_notify('account_sync', $1)", [payload]);
}
