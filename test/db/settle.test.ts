/** What becomes of an account's row when its sync ends, and what does not when the lease is somebody else's by then. */
import fc from "fast-check";
import { beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { Claim, Queue, Settlement } from "../../src/queue/queue.ts";
import { claimOne, createEngine, type Engine } from "../support/engine.ts";

let engine: Engine;
let queue: Queue;

beforeAll(async () => {
  engine = await createEngine();
});

beforeEach(async () => {
  await engine.reset();
  queue = engine.queueWith({ quietPeriodMs: 2_000, maxWaitMs: 10_000 });
});

async function claimNew(accountId: string): Promise<Claim> {
  await engine.change(accountId, {
    lane: "manual",
    request: { user_id: "ani", force: true },
    secondsAgo: 60,
  });
  await queue.fold();
  return await claimOf(accountId);
}

async function claimOf(accountId: string): Promise<Claim> {
  await engine.query("update account_sync.account set due_at = now() where account_id = $1", [
    accountId,
  ]);
  const claim = await claimOne(queue, accountId);
  if (claim === null) throw new Error(`account ${accountId} is not due`);
  return claim;
}

/** Resolves false when the lease was lost, and nothing was written. */
async function settle(claim: Claim, settlement: Partial<Settlement>): Promise<boolean> {
  return await engine.db.transaction(async (tx) => {
    const held = await queue.lockLeases(tx, [claim]);
    if (!held.has(claim.accountId)) return false;
    await queue.settle(tx, [
      {
        claim,
        generation: claim.generation,
        disposition: "clean",
        delayMs: 0,
        countsAsAttempt: true,
        errorClass: null,
        error: null,
        fingerprint: null,
        blockedBy: null,
        request: "kept",
        failureKind: null,
        endsCreate: false,
        ...settlement,
      },
    ]);
    return true;
  });
}

const CLEAN = { disposition: "clean", fingerprint: "f2" } as const;
const AGAIN = {
  disposition: "again",
  delayMs: 60_000,
  errorClass: "server",
  error: "answered 502",
} as const;
const BLOCKED = {
  disposition: "blocked",
  delayMs: 300_000,
  blockedBy: "p",
  error: "waits",
} as const;
const REJECTED = { disposition: "parked", errorClass: "rejected", error: "answered 422" } as const;
const UNKNOWN = { disposition: "parked", errorClass: "unknown_outcome", error: "?" } as const;

const RESTS = { changed_at: null, due_at: null, request: null, attempts: 0, error_class: null };
const OLD_ROUND = { lane: "manual", request: { user_id: "ani", force: true } };
const ROUND_OF_THE_CHANGE = {
  state: "waiting",
  lane: "change",
  request: null,
  attempts: 0,
  error_class: null,
  error: null,
  blocked_by: null,
  parked_at: null,
};
const ROUND_OF_THE_REQUEST = {
  ...ROUND_OF_THE_CHANGE,
  state: "due",
  lane: "manual",
  request: { user_id: "budi" },
};
const PARKED = { due_at: null, parked_at: expect.any(Date), request: null, state: "parked" };

describe("a settled row", () => {
  test.each([
    ["clean", "nothing newer", CLEAN, { ...RESTS, state: "clean" }, null],
    ["clean", "a newer change", CLEAN, ROUND_OF_THE_CHANGE, 2_000],
    ["clean", "a newer request", CLEAN, ROUND_OF_THE_REQUEST, 0],
    ["again", "nothing newer", AGAIN, { ...OLD_ROUND, state: "retrying", attempts: 3 }, 60_000],
    ["again", "a newer change", AGAIN, { ...OLD_ROUND, state: "retrying", attempts: 3 }, 60_000],
    [
      "again",
      "a newer request",
      AGAIN,
      { lane: "manual", request: { user_id: "budi", force: true }, state: "retrying", attempts: 3 },
      0,
    ],
    ["blocked", "nothing newer", BLOCKED, { ...OLD_ROUND, state: "blocked", attempts: 3 }, 300_000],
    ["blocked", "a newer change", BLOCKED, ROUND_OF_THE_CHANGE, 2_000],
    ["blocked", "a newer request", BLOCKED, ROUND_OF_THE_REQUEST, 0],
    ["rejected", "nothing newer", REJECTED, { ...PARKED, error_class: "rejected" }, null],
    ["rejected", "a newer change", REJECTED, ROUND_OF_THE_CHANGE, 2_000],
    ["rejected", "a newer request", REJECTED, ROUND_OF_THE_REQUEST, 0],
    ["unknown", "nothing newer", UNKNOWN, { ...PARKED, error_class: "unknown_outcome" }, null],
    ["unknown", "a newer change", UNKNOWN, { ...PARKED, error_class: "unknown_outcome" }, null],
    ["unknown", "a newer request", UNKNOWN, { ...PARKED, error_class: "unknown_outcome" }, null],
  ] as const)("%s, %s", async (_, newer, settlement, expected, dueInMs) => {
    const claim = await claimNew("a");
    await engine.query("update account_sync.account set attempts = 2");
    if (newer === "a newer change") await engine.change("a");
    if (newer === "a newer request")
      await engine.change("a", { lane: "manual", request: { user_id: "budi" } });
    await queue.fold();

    await settle(claim, settlement);

    const row = await engine.row("a");
    expect(row).toMatchObject({
      ...expected,
      lease_token: null,
      next_lane: null,
      next_changed_at: null,
      next_request: null,
      generation: newer === "nothing newer" ? "1" : "2",
    });
    if (dueInMs === null) expect(row["due_at"]).toBeNull();
    else {
      expect(row["due_in_ms"]).toBeGreaterThan(dueInMs - 1_000);
      expect(row["due_in_ms"]).toBeLessThanOrEqual(dueInMs);
    }
  });

  test("of a round that begins is measured from the change that began it", async () => {
    const claim = await claimNew("a");
    await engine.change("a", { secondsAgo: 5 });
    await queue.fold();
    await engine.change("a", { secondsAgo: 1 });
    await queue.fold();

    await settle(claim, CLEAN);

    const row = await engine.row("a");
    expect(row["changed_seconds_ago"]).toBeCloseTo(5, 0);
    expect(row["due_in_ms"]).toBeCloseTo(1_000, -3);
  });

  test("speaks for the generation that was sent, not for the one that was claimed", async () => {
    await claimNew("a");
    await engine.change("a");
    await queue.fold();
    const claim = await claimOf("a");

    await settle(claim, { ...CLEAN, generation: "1" });

    expect(claim.generation).toBe("2");
    expect(await engine.row("a")).toMatchObject({
      fingerprint: "f2",
      lane: "manual",
      state: "due",
    });
  });

  test("remembers when and what was accepted, and only then", async () => {
    const claim = await claimNew("a");
    await settle(claim, CLEAN);
    const synced = await engine.row("a");
    await engine.change("a", { lane: "manual" });
    await queue.fold();
    await settle(await claimOf("a"), { ...REJECTED, fingerprint: "f2" });
    const rejected = await engine.row("a");

    expect(synced).toMatchObject({ fingerprint: "f2", last_synced_at: expect.any(Date) });
    expect(rejected).toMatchObject({ fingerprint: "f2", last_synced_at: synced["last_synced_at"] });
  });

  test("keeps its attempts when the try was nobody's fault", async () => {
    const claim = await claimNew("a");

    await settle(claim, { ...AGAIN, countsAsAttempt: false });

    expect(await engine.row("a")).toMatchObject({ attempts: 0, error_class: "server" });
  });
});

test("a lost lease changes nothing at all", async () => {
  const lost = await claimNew("a");
  const taken = await claimOf("a");
  const before = await engine.row("a");

  const settled = await settle(lost, CLEAN);

  expect(settled).toBe(false);
  expect({ ...(await engine.row("a")), due_in_ms: 0, changed_seconds_ago: 0 }).toEqual({
    ...before,
    due_in_ms: 0,
    changed_seconds_ago: 0,
  });
  expect(await settle(taken, CLEAN)).toBe(true);
});

/**
 * A model of one account: what it must remember, and no more. `seen` is the generation the last successful sync spoke for;
 * whatever was folded after it has to be pending.
 */
interface Model {
  generation: number;
  unfolded: number;
  seen: number;
  claim: Claim | null;
  isParked: boolean;
}

type Step =
  | { readonly kind: "change"; readonly lane: "manual" | "change" | "backfill" }
  | { readonly kind: "fold" }
  | { readonly kind: "claim" }
  | { readonly kind: "renew" }
  | { readonly kind: "release" }
  | { readonly kind: "expire" }
  | { readonly kind: "retry" }
  | { readonly kind: "wake" }
  | {
      readonly kind: "settle";
      readonly how: (typeof ENDINGS)[number];
      readonly isLate: boolean;
    };

const ENDINGS = [CLEAN, AGAIN, BLOCKED, REJECTED, UNKNOWN] as const;

const steps = fc.array(
  fc.oneof(
    fc.record({
      kind: fc.constant("change" as const),
      lane: fc.constantFrom("manual" as const, "change" as const, "backfill" as const),
    }),
    fc.constantFrom<Step>(
      { kind: "fold" },
      { kind: "fold" },
      { kind: "claim" },
      { kind: "claim" },
      { kind: "renew" },
      { kind: "release" },
      { kind: "expire" },
      { kind: "retry" },
      { kind: "wake" },
    ),
    fc.record({
      kind: fc.constant("settle" as const),
      how: fc.constantFrom(...ENDINGS),
      isLate: fc.boolean(),
    }),
  ),
  { minLength: 5, maxLength: 25 },
);

test("whatever happens in whatever order, a change is pending until a sync has seen it", async () => {
  queue = engine.queueWith({});
  let accounts = 0;

  await fc.assert(
    fc.asyncProperty(steps, async (history) => {
      accounts += 1;
      const id = `account-${accounts}`;
      const model: Model = { generation: 0, unfolded: 0, seen: 0, claim: null, isParked: false };
      const lost: Claim[] = [];
      for (const step of history) {
        await take(step, id, model, lost);
        await check(id, model);
      }
    }),
    { numRuns: 60 },
  );
}, 120_000);

async function take(step: Step, id: string, model: Model, lost: Claim[]): Promise<void> {
  switch (step.kind) {
    case "change":
      await engine.change(id, { lane: step.lane, request: { user_id: "ani" } });
      model.unfolded += 1;
      return;
    case "fold":
      await queue.fold();
      if (model.unfolded > 0) model.generation += 1;
      model.unfolded = 0;
      return;
    case "claim": {
      const claim = await claimOne(queue, id);
      if (claim === null) return;
      if (model.claim !== null) lost.push(model.claim);
      model.claim = claim;
      expect(claim.generation).toBe(String(model.generation));
      return;
    }
    case "renew": {
      const claims = [...lost, ...(model.claim === null ? [] : [model.claim])].slice(-1);
      const renewed = await queue.renew(claims);
      expect(renewed.has(id)).toBe(model.claim !== null);
      return;
    }
    case "release":
      if (model.claim === null) return;
      await queue.release([model.claim]);
      lost.push(model.claim);
      model.claim = null;
      return;
    case "expire":
      await engine.query(
        "update account_sync.account set due_at = now() where account_id = $1 and due_at is not null",
        [id],
      );
      return;
    case "retry":
      await queue.retry({ ids: [id], errorClass: null });
      return;
    case "wake":
      await queue.wakeChildren(["p"]);
      return;
    case "settle": {
      const claim = step.isLate ? lost.at(-1) : model.claim;
      if (claim === undefined || claim === null) return;
      const settled = await settle(claim, step.how);
      expect(settled).toBe(!step.isLate);
      if (!settled) return;
      // A sync that came to its end has seen everything that was folded before its claim.
      if (step.how.disposition === "clean") model.seen = Number(claim.generation);
      lost.push(claim);
      model.claim = null;
      return;
    }
    default:
      step satisfies never;
  }
}

async function check(id: string, model: Model): Promise<void> {
  if (model.generation === 0) return;
  const row = await engine.row(id);
  expect(row["generation"]).toBe(String(model.generation));
  expect(row["lease_token"]).toBe(model.claim?.leaseToken ?? null);
  const isPending = row["changed_at"] !== null;
  if (model.seen < model.generation) expect(isPending).toBe(true);
  // Pending means that somebody will come: it is due some day, or shows as parked with a reason.
  if (isPending && row["due_at"] === null)
    expect(row).toMatchObject({ state: "parked", error_class: expect.any(String) });
}
