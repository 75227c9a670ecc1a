/** Changes become rows, rows become claims: nothing is lost on the way, and nobody gets what another one has. */

import { beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { Queue } from "../../src/queue/queue.ts";
import { claimOne, createEngine, type Engine, LEASE_MS } from "../support/engine.ts";
import { eventually } from "../support/eventually.ts";
import { withClient } from "../support/postgres.ts";

let engine: Engine;
let queue: Queue;

beforeAll(async () => {
  engine = await createEngine();
});

beforeEach(async () => {
  await engine.reset();
  queue = engine.queueWith({ quietPeriodMs: 2_000, maxWaitMs: 10_000 });
});

/** Puts the row into a state as settling would leave it. */
async function set(accountId: string, columns: string): Promise<void> {
  await engine.query(`update account_sync.account set ${columns} where account_id = $1`, [
    accountId,
  ]);
}

async function claimed(accountId: string) {
  const claim = await claimOne(queue, accountId);
  if (claim === null) throw new Error(`account ${accountId} is not due`);
  return claim;
}

async function expire(accountId: string): Promise<void> {
  await set(accountId, "due_at = now() - interval '1 s'");
}

describe("a fold", () => {
  test("coalesces many changes into one row", async () => {
    for (const secondsAgo of [3, 2, 1]) await engine.change("a", { secondsAgo });
    await engine.change("b");

    const folded = await queue.fold();

    expect(folded).toEqual({ changes: 4, accounts: 2, markers: 0 });
    expect(await engine.row("a")).toMatchObject({ generation: "1", lane: "change", attempts: 0 });
    expect((await engine.row("a"))["changed_seconds_ago"]).toBeCloseTo(3, 0);
    expect(await engine.query("select from account_sync.change")).toHaveLength(0);
  });

  test("counts a generation for each fold that touches the account", async () => {
    for (let fold = 0; fold < 3; fold += 1) {
      await engine.change("a");
      await queue.fold();
    }

    expect(await engine.row("a")).toMatchObject({ generation: "3" });
  });

  test.each([
    ["one change waits for the quiet period", [0], 2_000],
    ["further changes push it on", [5, 1], 1_000],
    ["until the max wait of the first one", [9, 0], 1_000],
    ["an old burst is overdue", [30, 20], -20_000],
  ])("%s", async (_, secondsAgo, dueInMs) => {
    for (const age of secondsAgo) {
      await engine.change("a", { secondsAgo: age });
      await queue.fold();
    }

    const row = await engine.row("a");

    expect(row["due_in_ms"]).toBeGreaterThan(dueInMs - 700);
    expect(row["due_in_ms"]).toBeLessThan(dueInMs + 700);
  });

  test.each([["manual"], ["backfill"]] as const)(
    "makes what is asked for in the %s lane due at once",
    async (lane) => {
      await engine.change("a", { lane });

      await queue.fold();

      const row = await engine.row("a");
      expect(row).toMatchObject({ lane });
      expect(row["due_in_ms"]).toBeLessThanOrEqual(0);
    },
  );

  test("keeps the most urgent lane", async () => {
    await engine.change("a", { lane: "backfill" });
    await queue.fold();
    await engine.change("a", { lane: "change" });
    await queue.fold();
    const afterChange = await engine.row("a");
    await engine.change("a", { lane: "manual" });
    await queue.fold();
    const afterManual = await engine.row("a");
    await engine.change("a", { lane: "backfill" });
    await queue.fold();

    expect(afterChange).toMatchObject({ lane: "change" });
    expect(afterManual).toMatchObject({ lane: "manual" });
    expect(await engine.row("a")).toMatchObject({ lane: "manual" });
  });

  test("a backfill never slows or hastens a change that waits", async () => {
    await engine.change("a");
    await queue.fold();
    const before = await engine.row("a");
    await engine.change("a", { lane: "backfill" });
    await queue.fold();

    expect(await engine.row("a")).toMatchObject({ lane: "change", due_at: before["due_at"] });
  });

  test("a change of an account in the backfill's line waits for quiet like any other", async () => {
    await engine.change("a", { lane: "backfill", secondsAgo: 3_600 });
    await queue.fold();
    await engine.change("a");
    await queue.fold();
    await engine.change("a");
    await queue.fold();

    expect((await engine.row("a"))["due_in_ms"]).toBeGreaterThan(1_000);
  });

  test("a change never slows a person's request", async () => {
    await engine.change("a", { lane: "manual" });
    await queue.fold();
    await engine.change("a");
    await queue.fold();

    expect((await engine.row("a"))["due_in_ms"]).toBeLessThanOrEqual(0);
  });

  test.each([["in one fold"], ["in two folds"]])(
    "keeps every wish of two requests, %s",
    async (how) => {
      await engine.change("a", {
        lane: "manual",
        request: { user_id: "ani", config_id: "c1", force: true },
        secondsAgo: 2,
      });
      if (how === "in two folds") await queue.fold();
      await engine.change("a", { lane: "change", request: { user_id: "budi" }, secondsAgo: 1 });
      await engine.change("a");
      await queue.fold();

      expect((await engine.row("a"))["request"]).toEqual({
        user_id: "budi",
        config_id: "c1",
        force: true,
      });
      expect(await claimed("a")).toMatchObject({ userId: "budi", configId: "c1", force: true });
    },
  );

  test("keeps the external id of a deleted account", async () => {
    await engine.change("a", { externalId: "ext-1" });
    await engine.change("a");
    await queue.fold();
    await engine.change("a");
    await queue.fold();

    expect(await engine.row("a")).toMatchObject({ external_id: "ext-1" });
  });

  test("a change of a retrying account keeps its backoff", async () => {
    await engine.change("a");
    await queue.fold();
    await set("a", "error_class = 'server', attempts = 4, due_at = now() + interval '5 min'");
    await engine.change("a");
    await queue.fold();

    const row = await engine.row("a");
    expect(row).toMatchObject({ state: "retrying", attempts: 4, generation: "2" });
    expect(row["due_in_ms"]).toBeGreaterThan(290_000);
  });

  test("a person's request does not wait for the backoff", async () => {
    await engine.change("a");
    await queue.fold();
    await set("a", "error_class = 'server', attempts = 4, due_at = now() + interval '5 min'");
    await engine.change("a", { lane: "manual" });
    await queue.fold();

    expect((await engine.row("a"))["due_in_ms"]).toBeLessThanOrEqual(0);
  });

  test.each([["rejected"], ["validation"], ["incomplete"], ["database"]])(
    "a change revives an account parked as %s, for a new round",
    async (errorClass) => {
      await engine.change("a", { secondsAgo: 3_600 });
      await queue.fold();
      await set(
        "a",
        `error_class = '${errorClass}', error = 'x', attempts = 5, parked_at = now(), due_at = null, lane = 'manual'`,
      );
      await engine.change("a");
      await queue.fold();

      const row = await engine.row("a");
      expect(row).toMatchObject({
        parked_at: null,
        error_class: null,
        error: null,
        attempts: 0,
        lane: "change",
        state: "waiting",
      });
      expect(row["changed_seconds_ago"]).toBeLessThan(60);
    },
  );

  test.each([
    ["change", null],
    ["backfill", null],
    ["manual", "due"],
  ] as const)("an unknown outcome and a %s: only a person revives it", async (lane, revived) => {
    await engine.change("a");
    await queue.fold();
    await set(
      "a",
      "error_class = 'unknown_outcome', error = 'x', parked_at = now(), due_at = null",
    );
    await engine.change("a", { lane, request: lane === "manual" ? { force: true } : {} });
    await queue.fold();

    const row = await engine.row("a");
    expect(row["state"]).toBe(revived ?? "parked");
    expect(row["error_class"]).toBe(revived === null ? "unknown_outcome" : null);
    expect(row["generation"]).toBe("2");
  });

  test("a change of a blocked account looks again soon, however often it changes", async () => {
    await engine.change("a", { secondsAgo: 3_600 });
    await queue.fold();
    await set("a", "blocked_by = 'p', due_at = now() + interval '5 min'");
    await engine.change("a", { secondsAgo: 1 });
    await queue.fold();
    const first = await engine.row("a");
    await engine.change("a");
    await queue.fold();

    expect(first["due_in_ms"]).toBeGreaterThan(500);
    expect(first["due_in_ms"]).toBeLessThan(2_000);
    expect(await engine.row("a")).toMatchObject({ due_at: first["due_at"], state: "blocked" });
  });

  test("a change during a lease is kept for the next round, and the one in flight stays as it is", async () => {
    await engine.change("a", { lane: "manual", request: { user_id: "ani" }, secondsAgo: 10 });
    await queue.fold();
    const claim = await claimed("a");
    const before = await engine.row("a");
    await engine.change("a", { secondsAgo: 2 });
    await queue.fold();
    await engine.change("a", { lane: "manual", request: { user_id: "budi", force: true } });
    await queue.fold();

    const row = await engine.row("a");
    expect(row).toMatchObject({
      generation: "3",
      lease_token: claim.leaseToken,
      due_at: before["due_at"],
      changed_at: before["changed_at"],
      request: { user_id: "ani" },
      next_lane: "manual",
      next_request: { user_id: "budi", force: true },
    });
    expect(Date.now() - row["next_changed_at"].getTime()).toBeGreaterThan(1_000);
  });

  test("an id that no index could hold does not keep the others from being folded", async () => {
    const noise = Array.from({ length: 400 }, () => crypto.randomUUID()).join("");
    await engine.change(noise);
    await engine.change("a");

    const folded = await queue.fold();

    expect(folded).toMatchObject({ changes: 2, accounts: 1 });
  });

  test("a request that is no object does not keep the others from being folded", async () => {
    await engine.query(
      `insert into account_sync.change (account_id, request) values ('a', '[1]'), ('b', '"x"'), ('c', 'null')`,
    );

    const folded = await queue.fold();

    expect(folded).toMatchObject({ changes: 3, accounts: 3 });
  });

  test("what an open transaction appended is found when it commits, however late", async () => {
    await withClient(engine.database.url, async (client) => {
      await client.query("begin");
      await client.query("insert into account_sync.change (account_id) values ('late')");
      await engine.change("early");

      const during = await queue.fold();
      await client.query("commit");
      const after = await queue.fold();

      expect(during).toMatchObject({ changes: 1, accounts: 1 });
      expect(after).toMatchObject({ changes: 1, accounts: 1 });
    });
  });

  test("what was rolled back was never there", async () => {
    await withClient(engine.database.url, async (client) => {
      await client.query("begin");
      await client.query("insert into account_sync.change (account_id) values ('a')");
      await client.query("rollback");
    });

    expect(await queue.fold()).toMatchObject({ changes: 0 });
  });
});

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
        const held = await impatient.hold(tx, claims);
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
              keepsRetry: false,
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
    await set("manual", "due_at = now()");

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
    await set("a", "fingerprint = 'f', attempts = 2");

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
    const first = await claimed("a");
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
    await claimed("a");
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
    const claim = await claimed("a");
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
    const mine = await claimed("mine");
    const lost = await claimed("lost");
    await expire("lost");
    await claimed("lost");
    const before = await engine.row("lost");

    const renewed = await queue.renew([mine, lost]);
    await queue.release([lost]);
    const held = await engine.db.transaction((tx) => queue.hold(tx, [mine, lost]));
    const begun = await engine.db.transaction((tx) => queue.beginSends(tx, [mine, lost]));

    expect([...renewed]).toEqual(["mine"]);
    expect([...held]).toEqual(["mine"]);
    expect([...begun]).toEqual(["mine"]);
    expect(await engine.row("lost")).toMatchObject({
      lease_token: before["lease_token"],
      due_at: before["due_at"],
      fingerprint: before["fingerprint"],
    });
  });

  test("that ran out and that nobody took is renewed", async () => {
    await engine.change("a", { lane: "manual" });
    await queue.fold();
    const claim = await claimed("a");
    await expire("a");

    expect(await queue.renew([claim])).toEqual(new Set(["a"]));
    expect((await engine.row("a"))["due_in_ms"]).toBeGreaterThan(LEASE_MS - 5_000);
  });

  test("is renewed although another one's row is being settled, which counts as ours meanwhile", async () => {
    for (const accountId of ["a", "b"]) await engine.change(accountId, { lane: "manual" });
    await queue.fold();
    const a = await claimed("a");
    const b = await claimed("b");
    await set("a", "due_at = now() + interval '1 s'");

    const renewed = await engine.db.transaction(async (tx) => {
      await queue.hold(tx, [b]);
      return await queue.renew([a, b]);
    });

    expect(renewed).toEqual(new Set(["a", "b"]));
    expect((await engine.row("a"))["due_in_ms"]).toBeGreaterThan(LEASE_MS - 5_000);
  });
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
  await claimed("worked");
  for (const accountId of ["child", "worked"])
    await set(accountId, "blocked_by = 'p', due_at = now() + interval '5 min'");

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
      await set(
        accountId,
        `error_class = '${errorClass}', error = 'x', attempts = 3, parked_at = now(), due_at = null`,
      );

    const none = await queue.retry({ ids: ["c"], errorClass: null });
    const byClass = await queue.retry({ ids: null, errorClass: "validation" });
    const byId = await queue.retry({ ids: ["a", "c"], errorClass: null });

    expect([none, byClass, byId]).toEqual([0, 1, 1]);
    expect(await claimed("a")).toMatchObject({ retry: true, force: false, attempts: 0 });
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

      expect(expanded).toEqual([{ error: expect.anything() }, true, false]);
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
    await engine.query("alter table m_account_bank rename to m_account_bank_gone");
    try {
      await engine.query(
        "insert into account_sync.change (marker, marker_id, lane) values ('m_bank', $1, 'change'), ('m_account_type', 'no uuid', 'change'), ('all', null, 'backfill')",
        [crypto.randomUUID()],
      );
      await queue.fold();

      const expanded = [];
      for (let step = 0; step < 4; step += 1) expanded.push(await queue.expand());

      expect(expanded).toEqual([true, true, true, false]);
      expect(await engine.query("select from account_sync.change")).toHaveLength(1);
    } finally {
      await engine.query("alter table m_account_bank_gone rename to m_account_bank");
    }
  });
});
