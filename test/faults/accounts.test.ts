/** F36 and F37: accounts that cannot succeed do not affect the others, and show as parked or blocked with the reason. */
import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { externalIds, insertAccount } from "../support/accounts.ts";
import { audit } from "../support/audit.ts";
import { findLeaks, indiscreetMessage, insertCanaryAccount } from "../support/canaries.ts";
import { eventually } from "../support/eventually.ts";
import { recordFault } from "../support/evidence.ts";
import { createProduct, type Product } from "../support/product.ts";
import { countStates, retryAll, stateOf, untilAtRest } from "../support/queue-state.ts";
import { FLAWLESS } from "../support/verdict.ts";

test("F36 rows that cannot be read: parked after five tries with growing delays, all others unaffected, and mended they arrive", async () => {
  const product = await createProduct();
  const daemon = await product.start({ SYNC_BACKOFF_MIN_MS: "100", SYNC_BACKOFF_MAX_MS: "5000" });
  // The application replaces the table by a view with a formula while the daemon runs: the formula fails for some rows (22012).
  await product.database.pool.query(
    `begin;
     alter table m_account rename to m_account_table;
     create function formula(name varchar) returns varchar language sql immutable
       as $$ select case when name like 'Poison%' then (1 / (length(name) - length(name)))::varchar else name end $$;
     create view m_account as
       select id, account_no, formula(name) as name, phone_no, email, account_type_id, is_active, no_ktp, no_npwp, uuid_be,
         branch_uuid_be, "parentId", updated_by, updated_at
       from m_account_table;
     commit`,
  );
  const insert = async (accountNo: string, name: string) => {
    const [row] = await product.database.query<{ id: string }>(
      "insert into m_account_table (account_no, name, phone_no, email) values ($1, $2, '081234567890', 'toko@example.com') returning id",
      [accountNo, name],
    );
    return row?.id ?? "";
  };
  const poisoned: string[] = [];
  for (let n = 0; n < 8; n += 1) poisoned.push(await insert(`POISON-${n}`, `Poison ${n}`));
  const good: string[] = [];
  for (let n = 0; n < 30; n += 1) good.push(await insert(`GOOD-${n}`, `Toko Uji ${n}`));

  await eventually(
    async () =>
      expect(await countStates(product.database)).toEqual({
        parked: poisoned.length,
        clean: good.length,
      }),
    { timeoutMs: 60_000 },
  );

  for (const id of poisoned) {
    const state = await stateOf(product.database, id);
    expect(state).toMatchObject({ error_class: "database" });
    expect(state.error).toContain("22012");
    const gaps = await gapsBetweenTries(product, id);
    // Four delays between five tries, none below the shortest backoff.
    expect(gaps).toHaveLength(4);
    expect(Math.min(...gaps)).toBeGreaterThan(95);
  }
  // Single delays are random, with a ceiling that doubles. Of the last, up to 1.6 s, the mean of eight is far above the first ceiling.
  const gaps = await Promise.all(poisoned.map((id) => gapsBetweenTries(product, id)));
  expect(mean(gaps.map((one) => one[3] ?? 0))).toBeGreaterThan(300);
  expect(product.requests()).toHaveLength(good.length);
  await eventually(async () =>
    expect(await daemon.metric("pending_accounts", { state: "parked" })).toBe(poisoned.length),
  );
  expect(await findLeaks({ ...product, daemons: [daemon] })).toEqual([]);

  await product.database.query(
    "update m_account_table set name = 'Toko Sehat' where name like 'Poison%'",
  );
  const recoveryMs = await untilAtRest(product.database);
  expect(await countStates(product.database)).toEqual({ clean: poisoned.length + good.length });
  for (const id of poisoned)
    expect((await externalIds(product.database, id)).account).not.toBeNull();
  const found = await audit(product.database, product.sandbox);
  expect(found).toEqual(FLAWLESS);
  recordFault("F36", found, { tries: poisoned.length, recoveryMs });
});

test("F36 commands that make the API fail for ever: tried ever more slowly, parked after five times, and the circuit stays closed for the others", async () => {
  const product = await createProduct();
  const daemon = await product.start({
    SYNC_BACKOFF_MIN_MS: "100",
    SYNC_BACKOFF_MAX_MS: "5000",
    CUSTOMER_API_UNKNOWN_OUTCOME: "resend",
  });
  // Fewer than open the circuit: five different commands that fail in a row are an outage.
  const poisoned: string[] = [];
  const codes = ["P-0", "P-1", "P-2"];
  const fault = { status: 500, body: { error: indiscreetMessage(product.sandbox) } };
  product.sandbox.setFaults({
    next: codes.flatMap((code) => Array.from({ length: 50 }, () => ({ ...fault, code }))),
  });
  for (const code of codes)
    poisoned.push(await insertCanaryAccount(product.database, { accountNo: code, pics: 1 }));
  for (let n = 0; n < 40; n += 1)
    await insertAccount(product.database, { accountNo: `GOOD-${n}`, tiers: 1, pics: 1 });

  await eventually(
    async () =>
      expect(await countStates(product.database)).toEqual({ parked: poisoned.length, clean: 40 }),
    { timeoutMs: 60_000 },
  );

  for (const code of codes) {
    const requests = product.requests().filter((request) => request.code === code);
    expect(requests).toHaveLength(5);
    expect(new Set(requests.map(({ key }) => key)).size).toBe(1);
  }
  const gaps = await Promise.all(poisoned.map((id) => gapsBetweenTries(product, id)));
  expect(mean(gaps.flatMap((one) => one.slice(3)))).toBeGreaterThan(300);
  expect(daemon.log.filter((line) => line.includes("circuit open"))).toEqual([]);
  expect(await findLeaks({ ...product, daemons: [daemon] })).toEqual([]);

  product.sandbox.clearFaults();
  await product.database.query(
    "update m_account set name = 'Toko Sehat' where account_no like 'P-%'",
  );
  // Their creates may have been applied, so they are sent again only on request.
  await retryAll(daemon);
  const recoveryMs = await untilAtRest(product.database);
  const found = await audit(product.database, product.sandbox);
  expect(found).toEqual(FLAWLESS);
  recordFault("F36", found, { tries: poisoned.length * 6, recoveryMs });
});

test("F36 accounts the API refuses for ever: one request per change of theirs, all others unaffected", async () => {
  const product = await createProduct();
  const daemon = await product.start();
  const fault = { status: 422, body: { error: "this will never do" } };
  const codes = Array.from({ length: 20 }, (_, n) => `P-${n}`);
  product.sandbox.setFaults({
    next: codes.flatMap((code) => Array.from({ length: 10 }, () => ({ ...fault, code }))),
  });
  for (const code of codes) await insertAccount(product.database, { accountNo: code });
  for (let n = 0; n < 20; n += 1) await insertAccount(product.database, { accountNo: `GOOD-${n}` });
  await untilAtRest(product.database);

  for (let edit = 1; edit <= 3; edit += 1) {
    await product.database.query("update m_account set name = $1", [`Toko Uji ${edit}`]);
    await eventually(
      () =>
        expect(product.requests().filter(({ status }) => status === 422)).toHaveLength(
          codes.length * (1 + edit),
        ),
      { timeoutMs: 20_000 },
    );
    await untilAtRest(product.database);
  }

  expect(await countStates(product.database)).toEqual({ parked: 20, clean: 20 });
  expect(product.requests()).toHaveLength(40 * 4);
  expect(await daemon.metric("circuit_state", { state: "closed" })).toBe(1);
  product.sandbox.clearFaults();
  await product.database.query("update m_account set name = 'Toko Sehat'");
  const recoveryMs = await untilAtRest(product.database);
  const found = await audit(product.database, product.sandbox);
  expect(found).toEqual(FLAWLESS);
  recordFault("F36", found, { tries: codes.length * 4, recoveryMs });
});

/** The daemon rechecks a blocked child this often; here longer than the test, so that only a wake sends it. */
const NO_RECHECK = { SYNC_BACKOFF_MAX_MS: "600000" };

test("F37 accounts that are each other's parents: blocked with the circle named, no spin, and one edit sends them all", async () => {
  const product = await createProduct();
  const daemon = await product.start(NO_RECHECK);
  const size = 5;
  const circle = Array.from({ length: size }, () => crypto.randomUUID());
  const selfish = crypto.randomUUID();
  // In one statement, since each of them refers to another one. None has been synced before: a second create would make a twin.
  await product.database.query(
    `insert into m_account (id, account_no, name, phone_no, email, "parentId")
     select id, account_no, 'Toko Uji', '081234567890', 'toko@example.com', parent
     from unnest($1::uuid[], $2::text[], $3::uuid[]) as member (id, account_no, parent)`,
    [
      [...circle, selfish],
      [...circle.map((_, n) => `C-${n}`), "SELF"],
      [...circle.map((_, n) => circle.at(n - 1)), selfish],
    ],
  );
  for (let n = 0; n < 5; n += 1)
    await insertAccount(product.database, { accountNo: `GOOD-${n}`, tiers: 0, pics: 0 });

  await eventually(async () =>
    expect(await countStates(product.database)).toEqual({ blocked: size + 1, clean: 5 }),
  );
  const blocked = await product.database.query<{ account_id: string; error: string }>(
    "select account_id, error from account_sync.status where state = 'blocked'",
  );
  for (const { account_id, error } of blocked) {
    expect(error).toContain(account_id === selfish ? "its own parent" : "each other's parents");
    for (const id of account_id === selfish ? [selfish] : circle) expect(error).toContain(id);
  }
  // Scrapes of the same second or so share one look at the queue.
  await eventually(async () =>
    expect(await daemon.metric("pending_accounts", { state: "blocked" })).toBe(blocked.length),
  );
  const runs = await daemon.metric("runs_total");
  // That nothing runs any more has no fact to wait for; a spin would show within the second.
  await sleep(2_500);
  expect(await daemon.metric("runs_total")).toBe(runs);
  // Each member ran once for its insert, and at most three times for what became of its parent.
  expect(await runsOf(product, circle)).toBeLessThanOrEqual(size * 4);

  await product.database.query('update m_account set "parentId" = null where id = $1 or id = $2', [
    circle[0],
    selfish,
  ]);
  const mendedAt = performance.now();
  await eventually(async () =>
    expect(await countStates(product.database)).toEqual({ clean: size + 1 + 5 }),
  );
  const recoveryMs = performance.now() - mendedAt;
  for (const id of circle) expect((await externalIds(product.database, id)).account).not.toBeNull();
  const found = await audit(product.database, product.sandbox);
  expect(found).toEqual(FLAWLESS);
  recordFault("F37", found, { tries: blocked.length, recoveryMs });
});

test("F37 a parent that is never accepted: its children wait visibly without a spin, and its id wakes them all", async () => {
  const product = await createProduct();
  const daemon = await product.start(NO_RECHECK);
  product.sandbox.setFaults({
    next: Array.from({ length: 20 }, () => ({ code: "PARENT", status: 422 })),
  });
  const parent = await insertAccount(product.database, { accountNo: "PARENT", tiers: 0, pics: 0 });
  const children: string[] = [];
  for (let n = 0; n < 20; n += 1)
    children.push(
      await insertAccount(product.database, {
        accountNo: `CHILD-${n}`,
        parentId: n < 10 ? parent : (children[n - 10] ?? parent),
        tiers: 0,
        pics: 0,
      }),
    );
  await untilAtRest(product.database);

  expect(await countStates(product.database)).toEqual({ parked: 1, blocked: children.length });
  expect((await stateOf(product.database, children[0] ?? "")).error).toContain(
    `Waits for its parent ${parent}`,
  );
  const runs = await runsOf(product, children);
  // That nothing runs any more has no fact to wait for; a spin would show within the second.
  await sleep(2_500);
  expect(await runsOf(product, children)).toBe(runs);
  expect(runs).toBeLessThanOrEqual(2 * children.length);
  expect(product.requests().map(({ code }) => code)).toEqual(["PARENT"]);
  // The alert rules use this metric.
  await eventually(async () =>
    expect(await daemon.metric("pending_accounts", { state: "blocked" })).toBe(children.length),
  );
  await eventually(async () =>
    expect(await daemon.metric("oldest_pending_seconds")).toBeGreaterThan(2),
  );

  product.sandbox.clearFaults();
  await product.database.query("update m_account set name = 'Toko Sehat' where id = $1", [parent]);
  const recoveryMs = await untilAtRest(product.database);
  const found = await audit(product.database, product.sandbox);
  expect(found).toEqual(FLAWLESS);
  expect(await countStates(product.database)).toEqual({ clean: children.length + 1 });
  recordFault("F37", found, { tries: children.length, recoveryMs });
});

/** Milliseconds between the starts of an account's failed tries, since its rows last changed. */
async function gapsBetweenTries(product: Product, accountId: string): Promise<number[]> {
  const rows = await product.database.query<{ ms: number }>(
    `select (extract(epoch from started_at) * 1000)::float8 as ms
     from account_sync.history
     where account_id = $1 and outcome in ('retry', 'parked')
       and error_class in ('database', 'server')
     order by started_at`,
    [accountId],
  );
  return rows.slice(1).map(({ ms }, n) => ms - (rows[n]?.ms ?? 0));
}

async function runsOf(product: Product, ids: readonly string[]): Promise<number> {
  const [row] = await product.database.query<{ count: number }>(
    "select count(*)::integer as count from account_sync.history where account_id = any($1)",
    [ids],
  );
  return row?.count ?? 0;
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
