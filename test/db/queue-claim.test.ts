/** Rows become claims: in which order, with which lease, and never twice at once. */
import { beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { Queue } from "../../src/queue/queue.ts";
import { claimed, claimOne, createEngine, type Engine, LEASE_MS } from "../support/engine.ts";

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

describe("a claim", () => {
  test("takes the lanes in order, and in each of them what has been due the longest", async () => {
    for (const [accountId, lane, age] of [
      ["backfill", "backfill", 50],
      ["change 1", "change", 40],
      ["change 2", "change", 30],
      ["manual", "manual", 1],
    ] as const) {
      await engine.change(accountId, { lane, secondsAgo: age });
      await queue.fold();
    }
    await engine.set("manual", "due_at = now()");

    const order = [];
    for (let step = 0; step < 5; step += 1)
      order.push((await queue.claim(1)).map((claim) => claim.accountId));

    expect(order).toEqual([["manual"], ["change 1"], ["change 2"], ["backfill"], []]);
  });

  test("tells what it was asked for and how long it has been waiting", async () => {
    await engine.change("a", {
      lane: "manual",
      request: { user_id: "ani", config_id: "c1", force: true },
      secondsAgo: 5,
      externalId: "ext-1",
    });
    await queue.fold();
    await engine.set("a", "fingerprint = 'f', attempts = 2");

    const [claim] = await queue.claim(10);

    expect(claim).toMatchObject({
      accountId: "a",
      generation: "1",
      trigger: "manual",
      attempts: 2,
      userId: "ani",
      configId: "c1",
      force: true,
      retry: false,
      fingerprint: "f",
      removedExternalId: "ext-1",
    });
    expect(claim?.pendingMs).toBeGreaterThan(4_900);
    expect((await engine.row("a"))["due_in_ms"]).toBeGreaterThan(LEASE_MS - 5_000);
  });

  test("never gives two claimers the same account", async () => {
    await engine.query(
      "insert into account_sync.change (account_id, lane) select n, 'manual' from generate_series(1, 500) n",
    );
    await queue.fold();

    const claimers = Array.from({ length: 8 }, async () => {
      const mine: string[] = [];
      for (;;) {
        const claims = await queue.claim(7);
        if (claims.length === 0) return mine;
        mine.push(...claims.map((claim) => claim.accountId));
      }
    });
    // A row that is locked in passing is passed over: what is left is claimed afterwards.
    const all = [...(await Promise.all(claimers)).flat(), ...(await rest())];

    expect(all).toHaveLength(500);
    expect(new Set(all).size).toBe(500);

    async function rest() {
      return (await queue.claim(500)).map((claim) => claim.accountId);
    }
  });

  test("an expired lease makes the account due again, with what came in meanwhile", async () => {
    await engine.change("a", { lane: "backfill", request: { user_id: "ani" }, secondsAgo: 10 });
    await queue.fold();
    const first = await claimed(queue, "a");
    await engine.change("a", { lane: "manual", request: { force: true } });
    await queue.fold();
    const whileLeased = await claimOne(queue, "a");
    await expire("a");
    const [second] = await queue.claim(1);

    expect(whileLeased).toBeNull();
    expect(second).toMatchObject({
      generation: "2",
      trigger: "manual",
      userId: "ani",
      force: true,
    });
    expect(second?.leaseToken).not.toBe(first.leaseToken);
    expect(second?.pendingMs).toBeGreaterThan(9_000);
    expect(await engine.row("a")).toMatchObject({ next_lane: null, next_changed_at: null });
  });

  test("a dead worker's account is claimed again in the more urgent lane it was changed in", async () => {
    for (const accountId of ["a", "b"]) await engine.change(accountId, { lane: "backfill" });
    await queue.fold();
    await claimed(queue, "a");
    await engine.change("a", { lane: "change" });
    await queue.fold();
    await expire("a");

    const [next] = await queue.claim(1);

    expect(next?.accountId).toBe("a");
  });

  test("of one account takes it only when it is due", async () => {
    await engine.change("a");
    await queue.fold();
    const early = await claimOne(queue, "a");
    await expire("a");
    const claim = await claimOne(queue, "a");
    const again = await claimOne(queue, "a");

    expect(early).toBeNull();
    expect(claim).toMatchObject({ accountId: "a" });
    expect(again).toBeNull();
    expect(await claimOne(queue, "nobody")).toBeNull();
  });
});

describe("a lease", () => {
  test("that is released makes the account due at once, with what came in meanwhile", async () => {
    await engine.change("a", { secondsAgo: 100 });
    await queue.fold();
    const claim = await claimed(queue, "a");
    await engine.change("a", { lane: "manual", request: { force: true } });
    await queue.fold();

    await queue.release([claim]);

    expect(await engine.row("a")).toMatchObject({
      lease_token: null,
      lane: "manual",
      request: { force: true },
      next_lane: null,
      attempts: 0,
      state: "due",
    });
  });

  test("that was lost is neither renewed nor released nor held", async () => {
    for (const accountId of ["mine", "lost"]) await engine.change(accountId, { lane: "manual" });
    await queue.fold();
    const mine = await claimed(queue, "mine");
    const lost = await claimed(queue, "lost");
    await expire("lost");
    await claimed(queue, "lost");
    const before = await engine.row("lost");

    const renewed = await queue.renew([mine, lost]);
    await queue.release([lost]);
    const held = await engine.db.transaction((tx) => queue.lockLeases(tx, [mine, lost]));

    expect([...renewed]).toEqual(["mine"]);
    expect([...held]).toEqual(["mine"]);
    expect(await engine.row("lost")).toMatchObject({
      lease_token: before["lease_token"],
      due_at: before["due_at"],
      fingerprint: before["fingerprint"],
    });
  });

  test("that ran out and that nobody took is renewed", async () => {
    await engine.change("a", { lane: "manual" });
    await queue.fold();
    const claim = await claimed(queue, "a");
    await expire("a");

    expect(await queue.renew([claim])).toEqual(new Set(["a"]));
    expect((await engine.row("a"))["due_in_ms"]).toBeGreaterThan(LEASE_MS - 5_000);
  });

  test("is renewed although another one's row is being settled, which counts as ours meanwhile", async () => {
    for (const accountId of ["a", "b"]) await engine.change(accountId, { lane: "manual" });
    await queue.fold();
    const a = await claimed(queue, "a");
    const b = await claimed(queue, "b");
    await engine.set("a", "due_at = now() + interval '1 s'");

    const renewed = await engine.db.transaction(async (tx) => {
      await queue.lockLeases(tx, [b]);
      return await queue.renew([a, b]);
    });

    expect(renewed).toEqual(new Set(["a", "b"]));
    expect((await engine.row("a"))["due_in_ms"]).toBeGreaterThan(LEASE_MS - 5_000);
  });
});
