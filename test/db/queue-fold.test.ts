/** Changes become one row per account: nothing is lost on the way, and the row says when it is due. */
import { beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { Queue } from "../../src/queue/queue.ts";
import { claimed, createEngine, type Engine } from "../support/engine.ts";
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
      expect(await claimed(queue, "a")).toMatchObject({
        userId: "budi",
        configId: "c1",
        force: true,
      });
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
    await engine.set(
      "a",
      "error_class = 'server', attempts = 4, due_at = now() + interval '5 min'",
    );
    await engine.change("a");
    await queue.fold();

    const row = await engine.row("a");
    expect(row).toMatchObject({ state: "retrying", attempts: 4, generation: "2" });
    expect(row["due_in_ms"]).toBeGreaterThan(290_000);
  });

  test("a person's request does not wait for the backoff", async () => {
    await engine.change("a");
    await queue.fold();
    await engine.set(
      "a",
      "error_class = 'server', attempts = 4, due_at = now() + interval '5 min'",
    );
    await engine.change("a", { lane: "manual" });
    await queue.fold();

    expect((await engine.row("a"))["due_in_ms"]).toBeLessThanOrEqual(0);
  });

  test.each([["rejected"], ["validation"], ["incomplete"], ["database"]])(
    "a change revives an account parked as %s, for a new round",
    async (errorClass) => {
      await engine.change("a", { secondsAgo: 3_600 });
      await queue.fold();
      await engine.set(
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
    await engine.set(
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
    await engine.set("a", "blocked_by = 'p', due_at = now() + interval '5 min'");
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
    const claim = await claimed(queue, "a");
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
