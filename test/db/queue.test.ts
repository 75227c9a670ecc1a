/** The queue as a whole: no deadlock and no lost change under load, and what else moves or reads its rows. */
import { beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { Queue } from "../../src/queue/queue.ts";
import { claimed, createEngine, type Engine } from "../support/engine.ts";
import { eventually } from "../support/eventually.ts";

let engine: Engine;
let queue: Queue;

beforeAll(async () => {
  engine = await createEngine();
});

beforeEach(async () => {
  await engine.reset();
  queue = engine.queueWith({ quietPeriodMs: 2_000, maxWaitMs: 10_000 });
});

async function expire(accountId: string): Promise<void> {
  await engine.set(accountId, "due_at = now() - interval '1 s'");
}

test("folds, claims and settling workers at once never deadlock, and no change is lost", async () => {
  const impatient = engine.queueWith({ quietPeriodMs: 0, maxWaitMs: 0, leaseMs: 200 });
  const accounts = Array.from({ length: 20 }, (_, index) => `account-${index}`);
  const until = performance.now() + 3_000;
  const errors: unknown[] = [];
  let appended = 0;
  let folded = 0;
  const repeat = async (work: () => Promise<void>) => {
    while (performance.now() < until) await work().catch((error: unknown) => errors.push(error));
  };
  const append = () =>
    repeat(async () => {
      const lane = Math.random() < 0.2 ? "manual" : "change";
      const ids = [...accounts].sort(() => Math.random() - 0.5).slice(0, 7);
      await engine.query(
        "insert into account_sync.change (account_id, lane, request) select id, $2, '{}' from unnest($1::text[]) id",
        [ids, lane],
      );
      appended += ids.length;
    });
  const fold = () =>
    repeat(async () => {
      const { changes } = await impatient.fold();
      folded += changes;
    });
  const work = () =>
    repeat(async () => {
      const claims = await impatient.claim(5);
      await impatient.renew(claims);
      if (Math.random() < 0.2) return await impatient.release(claims);
      if (Math.random() < 0.2) return;
      await engine.db.transaction(async (tx) => {
        const held = await impatient.lockLeases(tx, claims);
        await impatient.settle(
          tx,
          claims
            .filter((claim) => held.has(claim.accountId))
            .map((claim) => ({
              claim,
              generation: claim.generation,
              disposition: "clean",
              delayMs: 0,
              countsAsAttempt: false,
              errorClass: null,
              error: null,
              // What the sync would have seen: everything up to the generation it claimed.
              fingerprint: claim.generation,
              blockedBy: null,
              request: "kept",
              failureKind: null,
              endsCreate: false,
            })),
        );
      });
      await impatient.wakeChildren(accounts);
    });

  await Promise.all([append(), append(), fold(), fold(), fold(), work(), work(), work()]);
  await eventually(async () => {
    const { changes } = await impatient.fold();
    folded += changes;
    expect(await engine.query("select from account_sync.change")).toHaveLength(0);
  });

  expect(errors).toEqual([]);
  expect(folded).toBe(appended);
  const rows = await engine.query("select * from account_sync.account");
  expect(rows).toHaveLength(accounts.length);
  for (const row of rows) {
    // Pending, or what was seen last is the last there was.
    if (row["changed_at"] === null) expect(row["fingerprint"]).toBe(row["generation"]);
  }
});

test("says how old the oldest change is, also when nobody has folded it", async () => {
  const seconds = async () =>
    (await engine.db.run<{ seconds: number }>("oldest_pending"))[0]?.seconds ?? Number.NaN;
  const before = await seconds();
  await engine.change("a", { secondsAgo: 20 });
  const captured = await seconds();
  await engine.queue.fold();
  const folded = await seconds();
  await engine.change("b", { secondsAgo: 40 });

  expect(before).toBe(0);
  expect(Math.round(captured)).toBe(20);
  expect(Math.round(folded)).toBe(20);
  expect(Math.round(await seconds())).toBe(40);
});

test("says when the next account is due", async () => {
  const none = await queue.nextDueInMs();
  await engine.change("a");
  await queue.fold();
  const waiting = await queue.nextDueInMs();
  await engine.change("b", { lane: "backfill" });
  await queue.fold();

  expect(none).toBeNull();
  expect(waiting).toBeGreaterThan(1_000);
  expect(await queue.nextDueInMs()).toBeLessThanOrEqual(0);
});

test("parents wake the children that wait for them, and nobody who works", async () => {
  for (const accountId of ["child", "worked", "other"]) await engine.change(accountId);
  await queue.fold();
  await expire("worked");
  await claimed(queue, "worked");
  for (const accountId of ["child", "worked"])
    await engine.set(accountId, "blocked_by = 'p', due_at = now() + interval '5 min'");

  await queue.wakeChildren(["p"]);

  expect((await engine.row("child"))["due_in_ms"]).toBeLessThanOrEqual(0);
  expect((await engine.row("worked"))["due_in_ms"]).toBeGreaterThan(200_000);
  expect((await engine.row("other"))["due_in_ms"]).toBeGreaterThan(0);
});

describe("a retry", () => {
  test("puts back what was parked and is asked for", async () => {
    for (const accountId of ["a", "b", "c"]) await engine.change(accountId);
    await queue.fold();
    for (const [accountId, errorClass] of [
      ["a", "rejected"],
      ["b", "validation"],
    ] as const)
      await engine.set(
        accountId,
        `error_class = '${errorClass}', error = 'x', attempts = 3, parked_at = now(), due_at = null`,
      );

    const none = await queue.retry({ ids: ["c"], errorClass: null });
    const byClass = await queue.retry({ ids: null, errorClass: "validation" });
    const byId = await queue.retry({ ids: ["a", "c"], errorClass: null });

    expect([none, byClass, byId]).toEqual([[], ["b"], ["a"]]);
    expect(await claimed(queue, "a")).toMatchObject({ retry: true, force: false, attempts: 0 });
    expect(await engine.row("b")).toMatchObject({ state: "due", error: null });
  });
});

describe("an expansion", () => {
  test("that fails is set aside for growing times, and the next one goes on", async () => {
    await engine.insertAccount();
    await engine.reset();
    await engine.insertAccount();
    await engine.query(
      "insert into account_sync.expansion (marker, lane, changed_at) values ('all', 'manual', now()), ('missing', 'backfill', now())",
    );
    await engine.query(
      "alter table account_sync.change add constraint no_manual check (lane <> 'manual')",
    );
    const standing = () =>
      engine.query(
        "select marker, failures, error, extract(epoch from due_at - now())::float8 as seconds from account_sync.expansion",
      );
    try {
      const expanded = [await queue.expand(), await queue.expand(), await queue.expand()];
      const [first] = await standing();
      await engine.query("update account_sync.expansion set due_at = now()");
      const again = await queue.expand();
      const [second] = await standing();

      expect(expanded).toEqual([{ error: expect.anything(), againInMs: 5_000 }, true, false]);
      expect(first).toMatchObject({ marker: "all", failures: 1, error: "23514" });
      expect(again).toMatchObject({ error: expect.anything() });
      expect(second?.["seconds"]).toBeGreaterThan(Number(first?.["seconds"]) + 3);
    } finally {
      await engine.query("alter table account_sync.change drop constraint no_manual");
    }
    await engine.query("update account_sync.expansion set due_at = now()");
    expect(await queue.expand()).toBe(true);
    expect(await queue.expand()).toBe(false);
  });

  test("that can have no account behind it ends, and does not keep the next one waiting", async () => {
    await engine.insertAccount();
    await engine.reset();
    await engine.insertAccount();
    await engine.query(
      "insert into account_sync.change (marker, marker_id, lane) values ('m_account_type', 'no uuid', 'change'), ('all', null, 'backfill')",
    );
    await queue.fold();

    const expanded = [];
    for (let step = 0; step < 3; step += 1) expanded.push(await queue.expand());

    expect(expanded).toEqual([true, true, false]);
    expect(await engine.query("select from account_sync.change")).toHaveLength(1);
  });
});
