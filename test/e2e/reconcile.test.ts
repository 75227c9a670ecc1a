/** Reconcile: what no trigger has told is found by comparing, by itself now and then or at a person's word. */
import { beforeEach, expect, test } from "vitest";
import { externalIds, insertAccount } from "../support/accounts.ts";
import { isAtRest } from "../support/audit.ts";
import { eventually } from "../support/eventually.ts";
import { startProcess } from "../support/process.ts";
import { apiEnvironment, createProduct, type Product } from "../support/product.ts";

const TABLES = ["m_account", "m_account_package_tier", "m_account_pic"];

let product: Product;
let ids: string[];

beforeEach(async () => {
  product = await createProduct();
  const daemon = await product.start();
  ids = [];
  for (let n = 0; n < 6; n += 1)
    ids.push(
      await insertAccount(product.database, {
        accountNo: `A-${n}`,
        name: `Toko ${n}`,
        tiers: 1,
        pics: 1,
      }),
    );
  await eventually(async () =>
    expect(await daemon.metric("runs_total", { outcome: "synced" })).toBe(6),
  );
});

test("finds exactly what changed behind the triggers' backs, and the daemon sends it", async () => {
  await behindTheTriggers(async () => {
    await change("update m_account set name = 'Toko Lain' where id = $1", 0);
    await change("update m_account_package_tier set amount = 3 where account_id = $1", 1);
    await change("delete from m_account_pic where account_id = $1", 2);
    await change("update m_account set updated_by = 'siti' where id = $1", 3);
  });
  const before = product.requests().length;

  const { code, stdout } = await reconcile(["--json"]);
  await eventually(() => expect(product.requests()).toHaveLength(before + 3));
  await eventually(async () => expect(await isAtRest(product.database)).toBe(true));

  const [lines, walk] = read(stdout);
  expect(code).toBe(0);
  expect(new Map(lines)).toEqual(new Map([0, 1, 2].map((position) => [ids[position], "changed"])));
  expect(walk).toMatchObject({
    lookedAt: 6,
    drifted: { changed: 3, ids_missing: 0, customer_missing: 0 },
    marked: 3,
  });
  expect(
    product
      .requests()
      .slice(before)
      .map(({ operation }) => operation),
  ).toEqual(["update", "update", "update"]);
  const [, again] = read((await reconcile(["--dry-run", "--json"])).stdout);
  expect(again).toMatchObject({ drifted: { changed: 0 } });
});

test("with --dry-run lists what drifted, with the reason, and writes nothing", async () => {
  await behindTheTriggers(() =>
    change("update m_account set email = 'x@example.com' where id = $1", 0),
  );
  await product.database.query(
    "update m_account_package_tier set uuid_be = null where account_id = $1",
    [ids[1]],
  );
  await product.database.query("update m_account set uuid_be = null where id = any ($1)", [
    [ids[2], ids[3]],
  ]);
  await product.database.query("delete from account_sync.mapped_id where account_id = $1", [
    ids[3],
  ]);
  const before = await everything();

  const { code, stdout } = await reconcile(["--dry-run"]);

  expect(code).toBe(0);
  const lines = stdout.trim().split("\n");
  expect(lines.pop()).toMatch(/^Looked at 6 accounts in .*: 4 drifted\. Nothing is marked\.$/);
  expect(new Set(lines)).toEqual(
    new Set([
      `${ids[0]} holds other data than were accepted last`,
      `${ids[1]} lacks external ids`,
      `${ids[2]} lacks external ids`,
      `${ids[3]} has no external id any more, and none is known: it is created anew`,
    ]),
  );
  expect(await everything()).toEqual(before);
});

test("by itself finds what drifted, asks for ids that lack, and creates nobody a second time", async () => {
  await behindTheTriggers(() => change("update m_account set name = 'Toko Lain' where id = $1", 0));
  await product.database.query("update m_account_pic set uuid_be = null where account_id = $1", [
    ids[1],
  ]);
  await product.database.query("update m_account set uuid_be = null where id = any ($1)", [
    [ids[2], ids[3]],
  ]);
  await product.database.query("delete from account_sync.mapped_id where account_id = $1", [
    ids[3],
  ]);

  const daemons = [await product.start(OFTEN), await product.start(OFTEN)];
  await eventually(async () => {
    expect((await externalIds(product.database, ids[1] ?? "")).pics).not.toContain(null);
    expect(nameAtApi("A-0")).toBe("Toko Lain");
  });
  await eventually(async () => expect(await isAtRest(product.database)).toBe(true));

  expect(product.sandbox.customers()).toHaveLength(6);
  // However often they walked: each was sent once.
  const sent = product.requests().slice(6);
  expect(sent.map(({ code }) => code).toSorted()).toEqual(["A-0", "A-1", "A-2"]);
  const told = daemons.flatMap(({ log }) => log).filter((line) => line.includes("created anew"));
  expect(told.length).toBeGreaterThan(0);
  const looked = await Promise.all(
    daemons.map((daemon) => daemon.metric("reconciled_accounts_total", { result: "changed" })),
  );
  expect(looked.reduce((sum, count) => sum + count)).toBeGreaterThan(0);
});

test("leaves alone what is on its way and what waits for a human", async () => {
  product.sandbox.setFaults({ next: [{ status: 422, body: { error: "no" } }] });
  await change("update m_account set name = 'Ditolak' where id = $1", 0);
  await eventually(async () =>
    expect(
      await product.database.query("select state from account_sync.status where account_id = $1", [
        ids[0],
      ]),
    ).toEqual([{ state: "parked" }]),
  );

  const [lines, walk] = read((await reconcile(["--json"])).stdout);

  expect(lines).toEqual([]);
  expect(walk).toMatchObject({ lookedAt: 5 });
});

test("a walk that a daemon leaves is gone on with by the next one", async () => {
  await product.database.query(
    "update account_sync.reconciliation set watermark = $1, turn_token = gen_random_uuid(), turn_until = now() - interval '1 s'",
    [ids.toSorted()[2]],
  );

  const daemon = await product.start();

  await eventually(async () =>
    expect(await daemon.metric("reconciled_accounts_total", { result: "same" })).toBe(3),
  );
});

const OFTEN = { SYNC_RECONCILE_INTERVAL_MS: "100" };

async function change(statement: string, position: number): Promise<void> {
  await product.database.query(statement, [ids[position]]);
}

async function behindTheTriggers(work: () => Promise<void>): Promise<void> {
  for (const table of TABLES)
    await product.database.query(`alter table ${table} disable trigger user`);
  await work();
  for (const table of TABLES)
    await product.database.query(`alter table ${table} enable trigger user`);
}

async function reconcile(args: readonly string[]) {
  const running = startProcess({
    args: ["reconcile", ...args],
    env: { ...apiEnvironment(product.sandbox), DATABASE_URL: product.database.url },
  });
  const { code } = await running.exit;
  return { code, stdout: running.stdout.join("\n") };
}

/** The accounts and what is said of them, and the sum at the end. */
function read(stdout: string): [[string, string][], unknown] {
  const lines = stdout
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));
  return [lines.slice(0, -1).map(({ accountId, drift }) => [accountId, drift]), lines.at(-1)];
}

async function everything(): Promise<unknown> {
  const ours = ["account", "attempt", "change", "reconciliation"].map(
    (table) => `account_sync.${table}`,
  );
  return await Promise.all(
    [...TABLES, ...ours].map((table) => product.database.query(`select * from ${table}`)),
  );
}

function nameAtApi(code: string): unknown {
  const customer = product.sandbox.customers().find((each) => each.code === code);
  return (customer?.command as { customer: { name: string } } | undefined)?.customer.name;
}
