/** Nothing waits without a way out: a send whose outcome is not known ends by retry, retry --discard or adopt, and ids by forget. */
import { expect, test } from "vitest";
import { externalIds, insertAccount } from "../support/accounts.ts";
import { eventually } from "../support/eventually.ts";
import { startProcess } from "../support/process.ts";
import {
  apiEnvironment,
  createProduct,
  type Product,
  QUICK,
  type RunningDaemon,
} from "../support/product.ts";

type Decide = (
  what: "retry" | "discard" | "adopt" | "forget",
  on: { product: Product; daemon: RunningDaemon; id: string; customer: string },
) => Promise<void>;

const byCommand: Decide = async (what, { product, id, customer }) => {
  const args = {
    retry: ["retry", id],
    discard: ["retry", "--discard", id],
    adopt: ["adopt", id, customer],
    forget: ["forget", "--yes", id],
  }[what];
  expect(await run(product, args)).toMatchObject({ code: 0, stderr: "" });
};

const bySql: Decide = async (what, { product, id, customer }) => {
  const call = {
    retry: "retry($1)",
    discard: "retry($1, discard => true)",
    adopt: "adopt($1, $2)",
    forget: "forget($1)",
  }[what];
  await product.database.query(
    `select account_sync.${call}`,
    what === "adopt" ? [id, customer] : [id],
  );
};

const byHttp: Decide = async (what, { daemon, id, customer }) => {
  const [path, body] = {
    retry: ["retry", { ids: [id] }] as const,
    discard: ["retry", { ids: [id], discard: true }] as const,
    adopt: [`${id}/adopt`, { external_id: customer }] as const,
    forget: [`${id}/forget`, {}] as const,
  }[what];
  const answer = await post(daemon, path, body);
  expect(answer.status).toBe(200);
};

const WAYS = [
  ["command", byCommand],
  ["SQL", bySql],
  ["HTTP", byHttp],
] as const;

test.each(WAYS)(
  "applied, though answered with 500: adopt by %s, and there is one customer, with current data",
  async (_, decide) => {
    const at = await createInDoubt({ applied: true });
    const { product, id } = at;

    await decide("adopt", at);
    await untilState(product, id, "clean");

    const [customer, ...others] = product.sandbox.customers();
    expect(others).toEqual([]);
    expect(product.requests().map(({ operation }) => operation)).toEqual(["create", "update"]);
    expect(product.requests()[1]?.body).toMatchObject({ customer: { name: "Toko Betul" } });
    expect((await externalIds(product.database, id)).account).toBe(customer?.id);
  },
);

test.each(WAYS)(
  "not applied: retry --discard by %s, and corrected data go out under another key",
  async (_, decide) => {
    const at = await createInDoubt({ applied: false });
    const { product, id } = at;

    await decide("discard", at);
    await untilState(product, id, "clean");

    const [first, second, ...others] = product.requests();
    expect(others).toEqual([]);
    expect(second).toMatchObject({
      operation: "create",
      body: { customer: { name: "Toko Betul" } },
    });
    expect(second?.key).not.toBe(first?.key);
    expect(product.sandbox.customers()).toHaveLength(1);
  },
);

test.each(WAYS)(
  "not known: retry by %s, and the same body goes out under the same key, then current data",
  async (_, decide) => {
    const at = await createInDoubt({ applied: true });
    const { product, id } = at;

    await decide("retry", at);
    await untilState(product, id, "clean");

    const [first, second, third] = product.requests();
    expect(second).toMatchObject({ operation: "create", key: first?.key, text: first?.text });
    expect(third).toMatchObject({
      operation: "update",
      body: { customer: { name: "Toko Betul" } },
    });
    expect(product.sandbox.customers()).toHaveLength(1);
  },
);

test.each(WAYS)(
  "forget by %s, and only then does the next sync create another customer",
  async (_, decide) => {
    const product = await createProduct();
    const daemon = await product.start();
    const id = await insertAccount(product.database);
    await untilState(product, id, "clean");
    const [first] = product.sandbox.customers();

    await product.database.query("update m_account set uuid_be = null where id = $1", [id]);
    await run(product, ["sync", id]);
    expect(product.sandbox.customers()).toHaveLength(1);
    expect((await externalIds(product.database, id)).account).toBe(first?.id);

    await decide("forget", { product, daemon, id, customer: "" });
    expect(await externalIds(product.database, id)).toMatchObject({
      account: null,
      branch: null,
      tiers: [null, null],
      pics: [null, null],
    });
    expect(await run(product, ["sync", id])).toMatchObject({ code: 0 });

    expect(product.requests().map(({ operation }) => operation)).toEqual([
      "create",
      "update",
      "create",
    ]);
    expect(await externalIds(product.database, id)).not.toMatchObject({ account: first?.id });
  },
);

test("the sentence with the decisions stands in status, history, preview and over HTTP, and its commands work as they stand", async () => {
  const { product, daemon, id } = await createInDoubt({ applied: false });

  const status = await run(product, ["status", id]);
  const json = JSON.parse((await run(product, ["status", id, "--json"])).stdout);
  const preview = JSON.parse((await run(product, ["preview", id, "--json"])).stdout);
  const overHttp = (await (await fetch(`${daemon.url}/api/accounts/${id}`)).json()) as {
    explanation: string;
    history: { error: string }[];
  };

  const texts = [
    json.next_step,
    json.explanation,
    preview.unfinished,
    overHttp.explanation,
    overHttp.history[0]?.error,
  ];
  for (const text of texts) {
    expect(text).toContain(`\`account-sync adopt ${id} <external id>\``);
    expect(text).toContain(`\`account-sync retry ${id} --discard\``);
  }
  expect(status.stdout).toMatch(new RegExp(`retry ${id} --discard`));
  expect(status.stdout).not.toContain("uuid_be");
  expect(status.stdout).toMatch(new RegExp(`\n {2}.*retry ${id}\n`));
});

test("adopt refuses an id that another account has, in one sentence", async () => {
  const { product, daemon, id } = await createInDoubt({ applied: false });
  const other = await insertAccount(product.database, { accountNo: "A-2" });
  await untilState(product, other, "clean");
  const taken = (await externalIds(product.database, other)).account ?? "";

  const refused = await run(product, ["adopt", id, taken]);
  const asJson = await run(product, ["adopt", id, taken, "--json"]);
  const overHttp = await post(daemon, `${id}/adopt`, { external_id: taken });
  const unknown = await run(product, ["adopt", "no-such-account", "x"]);

  const sentence = `Account ${other} has the external id ${taken} already.`;
  expect(refused).toMatchObject({ code: 1, stdout: "" });
  expect(refused.stderr).toContain(`error: ${sentence}`);
  expect(JSON.parse(asJson.stderr)).toMatchObject({ error: sentence });
  expect([overHttp.status, (await overHttp.json()) as object]).toMatchObject([
    409,
    { detail: expect.stringContaining(sentence) },
  ]);
  expect(unknown).toMatchObject({ code: 1 });
  expect(unknown.stderr).toContain("There is no account no-such-account.");
});

test("forget asks first, and is refused where there is nobody to ask", async () => {
  const product = await createProduct();
  const daemon = await product.start();
  const id = await insertAccount(product.database);
  await untilState(product, id, "clean");
  const before = await externalIds(product.database, id);
  const [tier] = await product.database.query<{ id: string }>(
    "select id::text from m_account_package_tier where account_id = $1 order by min_value",
    [id],
  );

  const refused = await run(product, ["forget", id]);
  const unknown = await run(product, ["forget", "no-such-account", "--yes"]);
  const overHttp = await post(daemon, "no-such-account/forget", {});
  expect(refused).toMatchObject({ code: 2, stdout: "" });
  expect(refused.stderr).toContain(`forget ${id} --yes`);
  expect([unknown.code, overHttp.status]).toEqual([1, 404]);
  expect(await externalIds(product.database, id)).toEqual(before);

  const one = await run(product, ["forget", id, "--tier", tier?.id ?? "", "--yes", "--json"]);
  expect(JSON.parse(one.stdout)).toEqual({ accountId: id, forgotten: 1 });
  expect(await externalIds(product.database, id)).toMatchObject({
    ...before,
    tiers: [null, before.tiers[1]],
    updatedBy: expect.anything(),
  });
});

test("retry names ids it does not know, and accounts that it left alone", async () => {
  const { product, id } = await createInDoubt({ applied: false });
  const clean = await insertAccount(product.database, { accountNo: "A-2" });
  await untilState(product, clean, "clean");
  const nobody = "99999999-9999-4999-8999-999999999999";

  const { code, stdout, stderr } = await run(product, ["retry", id, clean, nobody]);
  const nothing = await run(product, ["retry", clean, "--discard"]);

  expect(code).toBe(1);
  expect(stderr).toContain(`There is no account ${nobody}.`);
  expect(stdout).toContain("Put 1 parked account back.");
  expect(stdout).toContain(`Account ${clean} is clean, not parked: nothing to put back.`);
  expect(nothing).toMatchObject({ code: 0, stderr: "" });
  expect(nothing.stdout).toContain("it has no unfinished send to give up");
});

test("sync --replace takes the id that the API answers, and nothing else does", async () => {
  const product = await createProduct();
  const daemon = await product.start();
  const id = await insertAccount(product.database, { tiers: 0, pics: 0 });
  await untilState(product, id, "clean");
  const before = await externalIds(product.database, id);
  const body = { customer: { data: { id: "moved" } }, branch: { data: { id: "moved-branch" } } };
  product.sandbox.setFaults({ always: { on: "update", body } });

  const forced = await run(product, ["sync", id]);
  expect(await externalIds(product.database, id)).toMatchObject({ account: before.account });
  const replaced = await run(product, ["sync", "--replace", id]);

  expect(JSON.parse(forced.stdout)).toMatchObject({
    outcome: "partial",
    errorClass: "id_conflict",
  });
  expect(JSON.parse(replaced.stdout)).toMatchObject({ success: true, outcome: "synced" });
  expect(replaced.code).toBe(0);
  expect(await externalIds(product.database, id)).toMatchObject({
    account: "moved",
    branch: "moved-branch",
  });
  expect(
    await product.database.query(
      "select external_id from account_sync.id_mapping where entity = 'account'",
    ),
  ).toEqual([{ external_id: "moved" }]);
  await daemon.stop("the rest is of no interest");
});

test("preview of a row that lost its id says that it is sent, and that the id is put back", async () => {
  const product = await createProduct();
  const daemon = await product.start();
  const id = await insertAccount(product.database);
  await untilState(product, id, "clean");
  await daemon.stop("nothing is to be put back yet");
  const { account } = await externalIds(product.database, id);
  await product.database.query("update m_account set uuid_be = null where id = $1", [id]);

  const text = await run(product, ["preview", id]);
  const json = JSON.parse((await run(product, ["preview", id, "--json"])).stdout);

  expect(text.stdout).toContain("to update the customer");
  expect(text.stdout).toContain("put back from the id mapping: account.");
  expect(text.stdout).not.toContain("only a forced sync");
  expect(json.restored).toEqual([{ entity: "account", id, externalId: account }]);
});

/** A create of "Toko Salah" that was answered with 500; the name is "Toko Betul" by now. */
async function createInDoubt({ applied }: { readonly applied: boolean }) {
  const product = await createProduct();
  // Twice that after it was sent, the create cannot be under way any more: nothing is sent beside it before.
  const daemon = await product.start({ CUSTOMER_API_TIMEOUT_MS: "1000" });
  product.sandbox.setFaults({ next: [{ on: "create", status: 500, applied }] });
  const id = await insertAccount(product.database, { name: "Toko Salah" });
  await untilState(product, id, "parked");
  await product.database.query("update m_account set name = 'Toko Betul' where id = $1", [id]);
  await untilState(product, id, "parked");
  expect(product.requests()).toHaveLength(1);
  return { product, daemon, id, customer: product.sandbox.customers()[0]?.id ?? "" };
}

async function untilState(product: Product, id: string, state: string): Promise<void> {
  await eventually(
    async () =>
      expect(
        await product.database.query(
          "select s.state, (select count(*)::int from account_sync.change) as changes from account_sync.status s where account_id = $1",
          [id],
        ),
      ).toEqual([{ state, changes: 0 }]),
    { timeoutMs: 6_000 },
  );
}

function post({ url }: RunningDaemon, path: string, body: object): Promise<Response> {
  return fetch(`${url}/api/accounts/${path}`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  });
}

async function run({ sandbox, database }: Product, args: readonly string[]) {
  const running = startProcess({
    args,
    env: { ...QUICK, ...apiEnvironment(sandbox), DATABASE_URL: database.url },
  });
  const { code } = await running.exit;
  return { code, stdout: running.stdout.join("\n"), stderr: running.stderr.join("\n") };
}
