/** The story of one account on a real database, told by what the API was sent and what stands in the tables afterwards. */

import { setTimeout as sleep } from "node:timers/promises";
import { beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { ApiConnection, ApiRequest, ApiResult } from "../../src/customer-api/customer-api.ts";
import type { Observe } from "../../src/ops/observe.ts";
import type { Claim } from "../../src/queue/queue.ts";
import { createRateLimit } from "../../src/sync/rate-limit.ts";
import {
  accepted,
  CONNECTION,
  claimOne,
  createEngine,
  createFakeApi,
  type Engine,
  type FakeApi,
  failed,
  foundThere,
  noAnswer,
  notThere,
  REJECTED,
  unclear,
} from "../support/engine.ts";
import { eventually } from "../support/eventually.ts";
import { heldLease } from "../support/leases.ts";

let engine: Engine;
let api: FakeApi;

beforeAll(async () => {
  engine = await createEngine();
});

beforeEach(async () => {
  await engine.reset();
  api = createFakeApi();
});

const rename = (id: string, name: string) =>
  engine.query("update m_account set name = $2 where id::text = $1", [id, name]);

const request = (id: string, force = true) =>
  engine.change(id, { lane: force ? "manual" : "change", request: force ? { force: true } : {} });

async function claimDue(): Promise<Claim> {
  await engine.queue.fold();
  const [claim] = await engine.queue.claim(1);
  if (claim === undefined) throw new Error("nothing is due");
  return claim;
}

async function only(outcomes: Promise<Readonly<Record<string, unknown>>>): Promise<unknown> {
  const values = Object.values(await outcomes);
  expect(values).toHaveLength(1);
  return values[0];
}

function nameIn(sent: ApiRequest | undefined): string {
  return JSON.parse(sent?.body ?? "{}").customer.name;
}

describe("a sync", () => {
  test("writes the ids of an account, its tiers and its PICs back", async () => {
    const account = await engine.insertAccount({ tiers: 2, pics: 1 });

    const outcome = await only(engine.round(api));

    expect(outcome).toMatchObject({
      name: "synced",
      operation: "create",
      updated: { account: 1, tier: 2, pic: 1 },
    });
    expect(await engine.ids(account.id)).toEqual({
      account: "ext-customer-1",
      branch: "ext-branch-2",
      tiers: ["ext-tier-3", "ext-tier-4"],
      pics: ["ext-crew-5"],
      updatedBy: "account-sync",
    });
    expect(await engine.row(account.id)).toMatchObject({ state: "clean", error: null });
  });

  test("is not repeated by its own write-back", async () => {
    await engine.insertAccount({ tiers: 1, pics: 1 });
    await engine.round(api);

    await engine.round(api);

    expect(api.requests).toHaveLength(1);
    expect(await engine.query("select from account_sync.change")).toHaveLength(0);
  });

  test("of data that was accepted before sends nothing, unless somebody insists", async () => {
    const { id } = await engine.insertAccount({ tiers: 1 });
    await engine.round(api);
    await request(id, false);
    const unchanged = await only(engine.round(api));
    await request(id);
    const forced = await only(engine.round(api));

    expect(unchanged).toMatchObject({ name: "unchanged" });
    expect(forced).toMatchObject({ name: "synced", operation: "update" });
    expect(api.requests.map(({ operation }) => operation)).toEqual(["create", "update"]);
    expect(await engine.attempts(id)).toMatchObject([
      { outcome: "synced" },
      { outcome: "unchanged", operation: null },
      { outcome: "synced" },
    ]);
  });

  test("says who it was for, as far as the column goes", async () => {
    const { id } = await engine.insertAccount();
    const user = "x".repeat(60);
    await engine.change(id, { lane: "manual", request: { user_id: user } });

    await engine.round(api);

    const [row] = await engine.query("select updated_by, updated_at from m_account where id = $1", [
      id,
    ]);
    expect(row?.["updated_by"]).toBe("x".repeat(50));
    expect(row?.["updated_at"]).toEqual(expect.any(Date));
  });

  test("of an account that is gone ends, also when no key could hold its id", async () => {
    const good = await engine.insertAccount();
    await engine.change("not a uuid");
    await engine.change(crypto.randomUUID());

    const outcomes = await engine.round(api);

    expect(Object.values(outcomes).map((outcome) => outcome?.name)).toEqual(
      expect.arrayContaining(["gone", "gone", "synced"]),
    );
    expect(outcomes["not a uuid"]).toMatchObject({ name: "gone" });
    expect(outcomes[good.id]).toMatchObject({ name: "synced" });
    expect(await engine.row("not a uuid")).toMatchObject({ state: "clean" });
  });

  test("sends the newest data when an account changed between its claim and its load", async () => {
    const { id } = await engine.insertAccount();
    const run = await engine.sync(api);
    const claim = await claimDue();
    await rename(id, "Newer");
    await engine.queue.fold();

    await run(claim);
    await engine.round(api);

    expect(api.requests.map(nameIn)).toEqual(["Newer"]);
    expect((await engine.attempts(id)).map((attempt) => attempt["outcome"])).toEqual([
      "synced",
      "unchanged",
    ]);
  });

  test("during which the account changes is followed by another one", async () => {
    const { id } = await engine.insertAccount();
    api.next(async () => {
      await rename(id, "Newer");
      await engine.queue.fold();
      return accepted({ customer: "ext-1" });
    });
    await engine.round(api);
    const between = await engine.row(id);
    await engine.round(api);

    expect(between["changed_at"]).not.toBeNull();
    expect(api.requests.map(nameIn)).toEqual(["Toko Uji", "Newer"]);
    expect(await engine.row(id)).toMatchObject({ state: "clean" });
  });

  test("treats a blank uuid_be as none", async () => {
    const { id } = await engine.insertAccount({ tiers: 1 });
    await engine.query("update m_account set uuid_be = '', branch_uuid_be = ' '");
    await engine.query("update m_account_package_tier set uuid_be = ''");

    const outcome = await only(engine.round(api));

    expect(outcome).toMatchObject({ name: "synced", operation: "create" });
    expect(api.requests[0]?.externalId).toBeNull();
    expect(await engine.ids(id)).toMatchObject({
      account: "ext-customer-1",
      branch: "ext-branch-2",
      tiers: ["ext-tier-3"],
    });
  });
});

/** Stands between the load and the journal: another worker, whose lease was lost, has its answer just then. */
async function answeredMeanwhile(): Promise<ApiConnection> {
  await engine.query(
    `update account_sync.attempt set delivery = 'answered',
       received = '{"customer": "ext-late", "branch": null, "tiers": [], "pics": [], "problems": []}'`,
  );
  return CONNECTION;
}

/** The answer is journaled, and then the process is gone. */
async function crashBeforeWriteBack(): Promise<void> {
  const lease = heldLease();
  const run = await engine.sync(
    {
      ...api,
      send: async (connection, sent) => {
        const result = await api.send(connection, sent);
        lease.leave();
        return result;
      },
    },
    {
      overrides: {
        queue: { ...engine.queue, hold: () => Promise.reject(new Error("Connection terminated")) },
      },
    },
  );
  await expect(run(await claimDue(), lease)).rejects.toThrow("Connection terminated");
}

describe("the journal", () => {
  test("holds the send before a byte of it goes out, and the ids before anything is done with them", async () => {
    const { id } = await engine.insertAccount({ tiers: 1 });
    let during: unknown;
    api.next(async (sent) => {
      [during] = await engine.attempts(id);
      return accepted({ customer: `ext-${sent.operation}`, tiers: ["ext-t"] });
    });

    await engine.round(api);

    expect(during).toMatchObject({
      delivery: "sending",
      operation: "create",
      settled_at: null,
      idempotency_key: api.requests[0]?.idempotencyKey,
      body: api.requests[0]?.body,
    });
    expect(await engine.attempts(id)).toMatchObject([
      {
        delivery: "answered",
        outcome: "synced",
        http_status: 200,
        body: null,
        settled_at: expect.any(Date),
        received: { customer: "ext-create" },
        updated: { account: 1, tier: 1, pic: 0 },
      },
    ]);
  });

  test("has one unsettled attempt per account at most", async () => {
    const { id } = await engine.insertAccount();
    api.next(noAnswer());
    await engine.round(api, { policy: { unknownOutcome: "resend" } });

    const second = engine.query(
      `insert into account_sync.attempt (account_id, generation, trigger, idempotency_key, sent)
       values ($1, 1, 'change', gen_random_uuid(), '{}')`,
      [id],
    );

    await expect(second).rejects.toMatchObject({
      constraint: "attempt_one_unsettled_per_account",
    });
  });

  test("brings ids back after a crash, without a request", async () => {
    const account = await engine.insertAccount({ tiers: 1, pics: 1 });
    await crashBeforeWriteBack();
    const [journaled] = await engine.attempts(account.id);
    await engine.query("update account_sync.account set due_at = now()");

    const outcome = await only(engine.round(api));

    expect(journaled).toMatchObject({ delivery: "answered", settled_at: null });
    expect(outcome).toMatchObject({ name: "synced", updated: { account: 1, tier: 1, pic: 1 } });
    expect(api.requests).toHaveLength(1);
    expect(await engine.ids(account.id)).toMatchObject({ account: "ext-customer-1" });
    expect(await engine.attempts(account.id)).toHaveLength(1);
  });

  test("finishes the answered send of before, then sends what changed since", async () => {
    const { id } = await engine.insertAccount();
    await crashBeforeWriteBack();
    await rename(id, "Newer");
    await engine.query("update account_sync.account set due_at = now()");

    await engine.round(api);
    await engine.round(api);

    expect(api.requests.map(({ operation }) => operation)).toEqual(["create", "update"]);
    expect(api.requests.map(nameIn)).toEqual(["Toko Uji", "Newer"]);
  });

  test("is written again when the answer to its commit was lost, and one request goes out", async () => {
    const { id } = await engine.insertAccount();
    let lostAnswers = 1;
    const run = await engine.sync(api, {
      overrides: {
        db: {
          ...engine.db,
          transaction: async (work, isolation) => {
            const result = await engine.db.transaction(work, isolation);
            if (isolation === undefined && lostAnswers > 0) {
              lostAnswers -= 1;
              throw new Error("Connection terminated unexpectedly");
            }
            return result;
          },
        },
      },
    });

    const outcome = await run(await claimDue());

    expect(outcome).toMatchObject({ name: "synced" });
    expect(api.requests).toHaveLength(1);
    expect(await engine.attempts(id)).toHaveLength(1);
  });

  test("nothing is sent when the lease was lost before", async () => {
    await engine.insertAccount();
    const run = await engine.sync(api);
    const lost = await claimDue();
    await engine.query("update account_sync.account set due_at = now()");
    await engine.queue.claim(1);

    const outcome = await run(lost);

    expect(outcome).toBeNull();
    expect(api.requests).toEqual([]);
    expect(await engine.query("select from account_sync.attempt")).toEqual([]);
  });

  test("nothing is sent after a sleep in which somebody else may have taken over", async () => {
    const { id } = await engine.insertAccount();
    const run = await engine.sync(api, {
      overrides: {
        queue: {
          ...engine.queue,
          silenceMs: 0,
          renew: async () => new Set(),
        },
      },
    });

    const outcome = await run(await claimDue());

    expect(outcome).toBeNull();
    expect(api.requests).toEqual([]);
    expect(await engine.attempts(id)).toMatchObject([{ delivery: "sending" }]);
  });
});

describe("a create without an answer", () => {
  test("is parked for a human, and neither a change nor a backfill sends it again", async () => {
    const { id } = await engine.insertAccount();
    const unknown: string[] = [];
    api.next(noAnswer());

    const outcome = await only(
      engine.round(api, { observe: { unknownOutcome: (account) => void unknown.push(account) } }),
    );
    await rename(id, "Newer");
    await engine.round(api);
    await engine.change(id, { lane: "backfill" });
    await engine.round(api);

    expect(outcome).toMatchObject({ name: "parked", errorClass: "unknown_outcome" });
    expect(unknown).toEqual([id]);
    expect(api.requests).toHaveLength(1);
    expect(await engine.row(id)).toMatchObject({ state: "parked", error_class: "unknown_outcome" });
    expect(await engine.attempts(id)).toMatchObject([
      { delivery: "unknown", settled_at: null, body: expect.any(String) },
    ]);
  });

  test.each([
    ["retried by a person", "retry"],
    ["forced by a person", "force"],
  ])("%s goes out with the same key and body, and only then what changed since", async (_, how) => {
    const { id } = await engine.insertAccount();
    api.next(noAnswer());
    await engine.round(api);
    await rename(id, "Newer");
    await engine.queue.fold();
    if (how === "retry") await engine.queue.retry({ ids: [id], errorClass: null });
    else await request(id);

    await engine.round(api);
    await engine.round(api);

    const [first, second, third] = api.requests;
    expect(second).toMatchObject({
      operation: "create",
      idempotencyKey: first?.idempotencyKey,
      body: first?.body,
    });
    expect(third).toMatchObject({ operation: "update", externalId: "ext-customer-1" });
    expect(nameIn(third)).toBe("Newer");
    expect(await engine.row(id)).toMatchObject({ state: "clean" });
    expect(api.requests).toHaveLength(3);
  });

  test("is sent again by itself where the API honours keys", async () => {
    const { id } = await engine.insertAccount();
    api.next(noAnswer(), noAnswer({ errorClass: "server", httpStatus: 502 }));

    for (let round = 0; round < 3; round += 1)
      await engine.round(api, { policy: { unknownOutcome: "resend" } });

    expect(new Set(api.requests.map(({ idempotencyKey }) => idempotencyKey)).size).toBe(1);
    expect(new Set(api.requests.map(({ body }) => body)).size).toBe(1);
    expect(await engine.ids(id)).toMatchObject({ account: "ext-customer-1" });
    expect(await engine.attempts(id)).toMatchObject([
      { outcome: "retry", delivery: "unknown", body: null },
      { outcome: "retry", delivery: "unknown", body: null },
      { outcome: "synced", delivery: "answered", body: null },
    ]);
  });

  test("stays unknown when its repetition is refused: a 409 may mean that the first one was applied", async () => {
    const { id } = await engine.insertAccount();
    api.next(noAnswer(), failed({ ...rejectedFailure(), httpStatus: 409 }));

    for (let round = 0; round < 3; round += 1)
      await engine.round(api, { policy: { unknownOutcome: "resend" } });

    expect(api.requests).toHaveLength(2);
    expect(await engine.row(id)).toMatchObject({ state: "parked", error_class: "unknown_outcome" });
    expect((await engine.attempts(id)).at(-1)).toMatchObject({
      http_status: 409,
      delivery: "unknown",
      settled_at: null,
    });
  });

  test("found after a crash is told as unknown, once", async () => {
    const { id } = await engine.insertAccount();
    const unknown: string[] = [];
    const observe = { unknownOutcome: (account: string) => void unknown.push(account) };
    const { promise: never } = Promise.withResolvers<ApiResult>();
    api.next(() => never);
    const run = await engine.sync(api);
    void run(await claimDue());
    await eventually(() => expect(api.requests).toHaveLength(1));
    await engine.query("update account_sync.account set due_at = now()");

    const outcome = await only(engine.round(api, { observe }));
    await engine.queue.retry({ ids: null, errorClass: null });
    api.next(noAnswer());
    await engine.round(api, { observe });

    expect(outcome).toMatchObject({ name: "parked", errorClass: "unknown_outcome" });
    expect(unknown).toEqual([id]);
  });

  test.each(["NOTIFY", "retry"])(
    "found after a crash is not sent again on the word of the %s that it was sent for",
    async (asked) => {
      const { id } = await engine.insertAccount();
      if (asked === "retry") {
        api.next(noAnswer());
        await engine.round(api);
        await engine.queue.retry({ ids: [id], errorClass: null });
      } else {
        await request(id);
      }
      const before = api.requests.length;
      const { promise: never } = Promise.withResolvers<ApiResult>();
      api.next(() => never);
      const run = await engine.sync(api);
      void run(await claimDue());
      await eventually(() => expect(api.requests).toHaveLength(before + 1));
      await engine.query("update account_sync.account set due_at = now()");

      const outcome = await only(engine.round(api));

      expect(outcome).toMatchObject({ name: "parked", errorClass: "unknown_outcome" });
      expect(api.requests).toHaveLength(before + 1);
    },
  );

  test("is repeated where it was sent, whoever asks for it", async () => {
    const { id } = await engine.insertAccount();
    const asked: (string | null)[] = [];
    const connections = {
      of: async (configId: string | null) => {
        asked.push(configId);
        return CONNECTION;
      },
    };
    await engine.change(id, { lane: "manual", request: { force: true, config_id: "other" } });
    api.next(noAnswer());
    await engine.round(api, { overrides: { connections } });
    await engine.queue.retry({ ids: [id], errorClass: null });

    await engine.round(api, { overrides: { connections } });

    expect(asked).toEqual(["other", "other"]);
  });

  test("is an update from there on when somebody wrote the id", async () => {
    const { id } = await engine.insertAccount();
    api.next(noAnswer());
    await engine.round(api);
    await engine.query("update m_account set uuid_be = 'found-at-the-api' where id = $1", [id]);
    await engine.queue.retry({ ids: [id], errorClass: null });

    await engine.round(api);

    expect(api.requests[1]).toMatchObject({ operation: "update", externalId: "found-at-the-api" });
    expect(await engine.attempts(id)).toMatchObject([
      { settled_at: expect.any(Date), body: null },
      { outcome: "synced" },
    ]);
  });

  test("that a person sends again waits while the API is away, instead of asking the person once more", async () => {
    const { id } = await engine.insertAccount();
    api.next(noAnswer(), failed({ countsAsAttempt: false }));
    await engine.round(api);
    await engine.queue.retry({ ids: [id], errorClass: null });

    const away = await only(engine.round(api));
    const back = await only(engine.round(api));

    expect(away).toMatchObject({ name: "retry", errorClass: "network" });
    expect(back).toMatchObject({ name: "synced" });
    expect(new Set(api.requests.map(({ idempotencyKey }) => idempotencyKey)).size).toBe(1);
  });

  test("stays parked when somebody asked for a sync while it was under way: he did not know", async () => {
    const { id } = await engine.insertAccount();
    api.next(async () => {
      await request(id);
      await engine.queue.fold();
      return noAnswer();
    });
    await engine.round(api);

    await engine.round(api);

    expect(api.requests).toHaveLength(1);
    expect(await engine.row(id)).toMatchObject({ state: "parked", error_class: "unknown_outcome" });
  });

  test("whose answer comes after the lease was lost and the account was parked is finished all the same", async () => {
    const { id } = await engine.insertAccount();
    const { promise: answer, resolve } = Promise.withResolvers<ApiResult>();
    api.next(() => answer);
    const slow = await engine.sync(api);
    const lease = heldLease();
    const running = slow(await claimDue(), lease);
    await eventually(() => expect(api.requests).toHaveLength(1));
    await engine.query("update account_sync.account set due_at = now()");
    lease.lose();
    const parked = await only(engine.round(api));

    resolve(accepted({ customer: "ext-late" }));
    const late = await running;
    await engine.round(api);

    expect(api.requests[0]?.signal.aborted).toBe(false);
    expect(parked).toMatchObject({ name: "parked", errorClass: "unknown_outcome" });
    expect(late).toBeNull();
    expect(api.requests).toHaveLength(1);
    expect(await engine.ids(id)).toMatchObject({ account: "ext-late" });
    expect(await engine.row(id)).toMatchObject({ state: "clean" });
  });

  test("that a person sends again waits for the first, which may still be answered; its wish is kept", async () => {
    const { id } = await engine.insertAccount();
    const { promise: answer, resolve } = Promise.withResolvers<ApiResult>();
    api.next(() => answer);
    const slow = await engine.sync(api);
    const lease = heldLease();
    const running = slow(await claimDue(), lease);
    await eventually(() => expect(api.requests).toHaveLength(1));
    await engine.query("update account_sync.account set due_at = now()");
    lease.lose();
    await engine.round(api);
    await engine.queue.retry({ ids: [id], errorClass: null });

    const waiting = await only(engine.round(api, { policy: { applyingMaxMs: 60_000 } }));
    const row = await engine.row(id);
    resolve(accepted({ customer: "ext-first" }));
    await running;
    await dueNow();
    await engine.round(api);

    expect(waiting).toMatchObject({
      name: "retry",
      errorClass: "unknown_outcome",
      error: expect.stringMatching(/nothing is sent beside it: it goes out again in [56]\d s/),
      failed: [],
    });
    expect(row).toMatchObject({ parked_at: null, request: { retry: true }, attempts: 0 });
    expect(row["due_in_ms"]).toBeGreaterThan(50_000);
    expect(api.requests).toHaveLength(1);
    expect(await engine.ids(id)).toMatchObject({ account: "ext-first" });
  });

  test("that a person sends again goes out when the first one cannot be under way any more", async () => {
    const { id } = await engine.insertAccount();
    api.next(noAnswer());
    await engine.round(api);
    await engine.queue.retry({ ids: [id], errorClass: null });
    const patient = { policy: { applyingMaxMs: 60_000 } };

    await engine.round(api, patient);
    const early = api.requests.length;
    await engine.query("update account_sync.attempt set started_at = now() - interval '61 s'");
    await dueNow();
    await engine.round(api, patient);

    expect(early).toBe(1);
    expect(api.requests).toHaveLength(2);
    expect(new Set(api.requests.map(({ idempotencyKey }) => idempotencyKey)).size).toBe(1);
    expect(await engine.row(id)).toMatchObject({ state: "clean" });
  });

  test("that was sent again and is answered after all is told: there may be two customers", async () => {
    const { id } = await engine.insertAccount();
    const { promise: answer, resolve } = Promise.withResolvers<ApiResult>();
    api.next(() => answer);
    const warnings: unknown[] = [];
    const slow = await engine.sync(api, {
      observe: { strayCustomer: (customer) => warnings.push(customer) },
    });
    const lease = heldLease();
    const running = slow(await claimDue(), lease);
    await eventually(() => expect(api.requests).toHaveLength(1));
    await engine.query("update account_sync.account set due_at = now()");
    lease.lose();
    await engine.round(api);
    await engine.queue.retry({ ids: [id], errorClass: null });
    await engine.round(api);

    resolve(accepted({ customer: "ext-paused" }));
    await running;

    expect(warnings).toEqual([{ accountId: id, stray: "made twice" }]);
    const [first] = await engine.attempts(id);
    expect(first).toMatchObject({ received: { customer: "ext-paused" } });
    expect(await engine.ids(id)).toMatchObject({ account: "ext-customer-1" });
  });

  test("whose account was removed before its answer came is told: nobody else knows that customer", async () => {
    const { id } = await engine.insertAccount();
    const { promise: answer, resolve } = Promise.withResolvers<ApiResult>();
    api.next(() => answer);
    const strays: unknown[] = [];
    const slow = await engine.sync(api, {
      observe: { strayCustomer: (customer) => strays.push(customer) },
    });
    const lease = heldLease();
    const running = slow(await claimDue(), lease);
    await eventually(() => expect(api.requests).toHaveLength(1));
    await engine.query("update account_sync.account set due_at = now()");
    lease.lose();
    await engine.query("delete from m_account where id = $1", [id]);
    await engine.round(api);

    resolve(accepted({ customer: "ext-late" }));
    await running;

    expect(strays).toEqual([{ accountId: id, stray: "given up" }]);
  });

  test("is not parked for good when its answer comes in at the last moment", async () => {
    const { id } = await engine.insertAccount();
    api.next(noAnswer());
    await engine.round(api);
    await engine.query(
      "update account_sync.account set parked_at = null, due_at = now(), error_class = null",
    );
    const run = await engine.sync(api, {
      overrides: { connections: { of: answeredMeanwhile } },
    });

    const outcome = await run(await claimDue());
    await engine.round(api);

    expect(outcome).toMatchObject({ name: "parked", errorClass: "unknown_outcome" });
    expect(api.requests).toHaveLength(1);
    expect(await engine.ids(id)).toMatchObject({ account: "ext-late" });
  });

  test("is not sent again when its answer comes in at the last moment", async () => {
    const { id } = await engine.insertAccount();
    api.next(noAnswer());
    await engine.round(api, { policy: { unknownOutcome: "resend" } });
    const run = await engine.sync(api, {
      policy: { unknownOutcome: "resend" },
      overrides: { connections: { of: answeredMeanwhile } },
    });

    const outcome = await run(await claimDue());
    await engine.round(api);

    expect(outcome).toBeNull();
    expect(api.requests).toHaveLength(1);
    expect(await engine.ids(id)).toMatchObject({ account: "ext-late" });
  });
});

describe("an account that was removed", () => {
  const deleting = { policy: { onAccountDelete: "delete" as const } };
  const remove = (id: string) => engine.query("delete from m_account where id = $1", [id]);

  test("is gone, and its customer stays, where nothing else is asked for", async () => {
    const { id } = await engine.insertAccount();
    await engine.round(api);
    await remove(id);

    const outcome = await only(engine.round(api));

    expect(outcome).toMatchObject({ name: "gone", operation: null });
    expect(api.requests.map(({ operation }) => operation)).toEqual(["create"]);
  });

  test("takes its customer along where that is asked for, by the id that it had", async () => {
    const { id } = await engine.insertAccount({ tiers: 1 });
    await engine.round(api, deleting);
    await engine.query("delete from m_account_package_tier where account_id = $1", [id]);
    await remove(id);

    const outcome = await only(engine.round(api, deleting));
    await request(id);
    const again = await only(engine.round(api, deleting));

    expect(outcome).toMatchObject({ name: "gone", operation: "delete", errorClass: null });
    expect(api.requests[1]).toMatchObject({
      operation: "delete",
      externalId: "ext-customer-1",
      body: null,
    });
    expect((await engine.attempts(id)).at(-2)).toMatchObject({
      operation: "delete",
      delivery: "answered",
      settled_at: expect.any(Date),
    });
    expect(await engine.row(id)).toMatchObject({ state: "clean", external_id: null });
    // It has been dealt with.
    expect(again).toMatchObject({ name: "gone", operation: null });
    expect(api.requests).toHaveLength(2);
  });

  test("that never had a customer is gone without a request", async () => {
    const { id } = await engine.insertAccount();
    await remove(id);

    const outcome = await only(engine.round(api, deleting));

    expect(outcome).toMatchObject({ name: "gone", operation: null });
    expect(api.requests).toEqual([]);
  });

  test("whose delete is not answered is tried again under the same key, as long as it takes", async () => {
    const { id } = await engine.insertAccount();
    await engine.round(api, deleting);
    await remove(id);
    api.next(noAnswer(), failed({ errorClass: "server", delivery: "unknown", httpStatus: 500 }));

    const first = await only(engine.round(api, deleting));
    await engine.round(api, deleting);
    const last = await only(engine.round(api, deleting));

    expect(first).toMatchObject({ name: "retry", operation: "delete", errorClass: "timeout" });
    expect(last).toMatchObject({ name: "gone", operation: "delete" });
    const deletes = api.requests.slice(1);
    expect(deletes.map(({ externalId }) => externalId)).toEqual(Array(3).fill("ext-customer-1"));
    expect(new Set(deletes.map(({ idempotencyKey }) => idempotencyKey)).size).toBe(1);
    expect(await engine.row(id)).toMatchObject({ state: "clean", external_id: null });
  });

  test("whose delete is refused waits for a human, and is tried again at his word", async () => {
    const { id } = await engine.insertAccount();
    await engine.round(api, deleting);
    await remove(id);
    api.next(REJECTED);

    const refused = await only(engine.round(api, deleting));
    const row = await engine.row(id);
    await engine.queue.retry({ ids: [id], errorClass: null });
    const outcome = await only(engine.round(api, deleting));

    expect(refused).toMatchObject({ name: "parked", errorClass: "rejected", operation: "delete" });
    expect(row).toMatchObject({ state: "parked" });
    expect(outcome).toMatchObject({ name: "gone", operation: "delete" });
  });

  test("whose create was answered and never written takes that customer along", async () => {
    const { id } = await engine.insertAccount();
    await crashBeforeWriteBack();
    await remove(id);
    await dueNow();

    const outcome = await only(engine.round(api, deleting));

    expect(outcome).toMatchObject({ name: "gone", operation: "delete" });
    expect(api.requests.at(-1)).toMatchObject({
      operation: "delete",
      externalId: "ext-customer-1",
    });
    expect(await engine.attempts(id)).toMatchObject([
      { operation: "create", settled_at: expect.any(Date), body: null },
      { operation: "delete", settled_at: expect.any(Date) },
    ]);
  });

  test("whose create was not answered is looked for where that can be done; else nobody knows", async () => {
    const found = await engine.insertAccount();
    const unknown = await engine.insertAccount();
    api.next(noAnswer(), noAnswer());
    await engine.round(api, { policy: { ...deleting.policy, unknownOutcome: "lookup" } });
    const looking = { policy: { ...deleting.policy, unknownOutcome: "lookup" as const } };
    await engine.query("update account_sync.account set due_at = now() + interval '1 hour'");
    // One after the other: which of two comes first is nobody's promise.
    await remove(found.id);
    api.nextLookup(foundThere({ customer: "ext-there" }));
    await engine.query("update account_sync.account set due_at = now() where account_id = $1", [
      found.id,
    ]);
    const first = await only(engine.round(api, looking));
    await remove(unknown.id);
    await engine.query("update account_sync.account set due_at = now() where account_id = $1", [
      unknown.id,
    ]);
    const second = await only(engine.round(api, looking));

    expect(first).toMatchObject({ name: "gone", operation: "delete" });
    expect(second).toMatchObject({
      name: "gone",
      operation: null,
      error: expect.stringContaining("a customer that nobody here knows"),
    });
    expect(api.requests.map(({ operation }) => operation)).toEqual(["create", "create", "delete"]);
    expect(api.requests[2]?.externalId).toBe("ext-there");
  });

  test("and inserted again is a live account: nothing of it is deleted", async () => {
    const { id } = await engine.insertAccount();
    await engine.round(api, deleting);
    await remove(id);
    await engine.query(
      "insert into m_account (id, account_no, name, phone_no, email, uuid_be) values ($1, 'A-1', 'Toko', '081234567890', '', 'ext-customer-1')",
      [id],
    );

    const outcome = await only(engine.round(api, deleting));

    expect(outcome).toMatchObject({ name: "synced", operation: "update" });
    expect(api.requests.map(({ operation }) => operation)).toEqual(["create", "update"]);
    expect(await engine.row(id)).toMatchObject({ external_id: null });
  });

  test("and inserted again while its delete waited for its turn is not deleted either", async () => {
    const { id } = await engine.insertAccount();
    await engine.round(api, deleting);
    await remove(id);
    const run = await engine.sync(api, {
      ...deleting,
      overrides: {
        rateLimit: {
          hold: async () => {},
          waitForTurn: async () => {
            await engine.query(
              "insert into m_account (id, account_no, name, phone_no, email, uuid_be) values ($1, 'A-1', 'Toko', '081234567890', '', 'ext-customer-1')",
              [id],
            );
            return { kind: "now" };
          },
        },
      },
    });
    await engine.queue.fold();

    const outcome = await run(await claimDue());
    await engine.round(api, deleting);

    expect(outcome).toMatchObject({ name: "retry", error: expect.stringContaining("there again") });
    expect(api.requests.map(({ operation }) => operation)).toEqual(["create", "update"]);
  });

  test("keeps its customer when another account has the same one", async () => {
    const { id } = await engine.insertAccount();
    const heir = await engine.insertAccount();
    await engine.round(api, deleting);
    await engine.query(
      "update m_account set uuid_be = (select uuid_be from m_account where id = $1) where id = $2",
      [id, heir.id],
    );
    await remove(id);

    const outcomes = await engine.round(api, deleting);

    expect(outcomes[id]).toMatchObject({
      name: "gone",
      operation: null,
      error: `The account was removed; its customer was kept, since account ${heir.id} has the same external id.`,
    });
    expect(api.requests.map(({ operation }) => operation)).not.toContain("delete");
  });
});

function rejectedFailure() {
  if (REJECTED.kind !== "failed") throw new Error("a rejection is a failure");
  return REJECTED.failure;
}

describe("a create without an answer, with lookup", () => {
  const lookup = { policy: { unknownOutcome: "lookup" as const } };

  test("that the API has is adopted: what is proven is written, nothing is created, and an update brings what stands in the tables", async () => {
    const { id } = await engine.insertAccount({ tiers: 1 });
    api.next(noAnswer());
    api.nextLookup(foundThere({ customer: "ext-there", branch: "ext-b", tiers: ["ext-t"] }));

    await engine.round(api, lookup);
    await rename(id, "Newer");
    const adopted = await only(engine.round(api, lookup));
    const [journaled] = await engine.attempts(id);
    await dueNow();
    await engine.round(api, lookup);

    expect(api.lookups).toMatchObject([{ accountNo: "A-1", accountId: id }]);
    expect(adopted).toMatchObject({
      name: "partial",
      updated: { account: 1, tier: 0 },
      // The one tier there may be another one than ours.
      failed: [{ entity: "tier", reason: "incomplete", count: 1 }],
      error: expect.stringContaining("found at the API by a lookup"),
    });
    expect(journaled).toMatchObject({ operation: "create", delivery: "answered", body: null });
    expect(api.requests.map(({ operation }) => operation)).toEqual(["create", "update"]);
    expect(api.requests[1]?.externalId).toBe("ext-there");
    expect(nameIn(api.requests[1])).toBe("Newer");
    const { account, tiers } = await engine.ids(id);
    expect(account).toBe("ext-there");
    expect(tiers).toEqual([expect.stringMatching(/^ext-tier-/)]);
    expect(await engine.row(id)).toMatchObject({ state: "clean", error: null });
  });

  test("that was adopted is updated also when nothing changed: nobody knows what that customer holds", async () => {
    const { id } = await engine.insertAccount();
    api.next(noAnswer());
    api.nextLookup(foundThere({ customer: "ext-there" }));

    await engine.round(api, lookup);
    await engine.round(api, lookup);
    await dueNow();
    await engine.round(api, lookup);

    expect(api.requests.map(({ operation }) => operation)).toEqual(["create", "update"]);
    expect(await engine.row(id)).toMatchObject({ state: "clean" });
  });

  test("that is not there goes out again under the same key and body", async () => {
    const { id } = await engine.insertAccount();
    api.next(noAnswer());

    await engine.round(api, lookup);
    await rename(id, "Newer");
    await engine.round(api, lookup);

    expect(api.lookups).toHaveLength(1);
    const [first, second] = api.requests;
    expect(second).toMatchObject({
      operation: "create",
      idempotencyKey: first?.idempotencyKey,
      body: first?.body,
    });
    expect(await engine.ids(id)).toMatchObject({ account: "ext-customer-1" });
  });

  test("is asked for by the number it was sent with, not by the one the row has now", async () => {
    const { id } = await engine.insertAccount();
    api.next(noAnswer());
    await engine.round(api, lookup);
    await engine.query("update m_account set account_no = 'B-2' where id = $1", [id]);

    await engine.round(api, lookup);

    expect(api.lookups).toMatchObject([{ accountNo: "A-1" }]);
  });

  test("that is not there yet is not sent again while the API may be at work on it", async () => {
    const { id } = await engine.insertAccount();
    const patient = { policy: { ...lookup.policy, applyingMaxMs: 60_000 } };
    api.next(noAnswer());
    api.nextLookup(notThere(), foundThere({ customer: "ext-slow" }));

    await engine.round(api, patient);
    const early = await only(engine.round(api, patient));
    const waiting = await engine.row(id);
    await dueNow();
    await engine.round(api, patient);

    expect(early).toMatchObject({ name: "retry", errorClass: "unknown_outcome", failed: [] });
    expect(waiting["due_in_ms"]).toBeGreaterThan(50_000);
    expect(waiting["due_in_ms"]).toBeLessThanOrEqual(60_000);
    expect(api.requests).toHaveLength(1);
    expect(await engine.ids(id)).toMatchObject({ account: "ext-slow" });
  });

  test.each([
    ["an outage", failed({ errorClass: "server", delivery: "unknown", httpStatus: 500 })],
    ["a refused token", failed({ errorClass: "unauthorized", countsAsAttempt: false })],
    ["throttling", failed({ errorClass: "throttled", countsAsAttempt: false })],
    ["silence", noAnswer()],
  ] as const)("is not sent again while %s keeps the lookup from its answer", async (_, failure) => {
    const { id } = await engine.insertAccount();
    if (failure.kind !== "failed") throw new Error("a failure is meant");
    api.next(noAnswer());
    api.nextLookup(failure, failure, foundThere({ customer: "ext-there" }));

    await engine.round(api, lookup);
    const first = await only(engine.round(api, lookup));
    await engine.round(api, lookup);
    await engine.round(api, lookup);

    expect(first).toMatchObject({ name: "retry", errorClass: failure.failure.errorClass });
    expect(api.lookups).toHaveLength(3);
    expect(api.requests).toHaveLength(1);
    expect(await engine.ids(id)).toMatchObject({ account: "ext-there" });
  });

  test("is left to a human when the lookup cannot tell, with what it said", async () => {
    const { id } = await engine.insertAccount();
    api.next(noAnswer());
    api.nextLookup(unclear("lookup answered 200: 3 customers carry this account number"));

    await engine.round(api, lookup);
    const outcome = await only(engine.round(api, lookup));
    await rename(id, "Newer");
    await engine.round(api, lookup);

    expect(outcome).toMatchObject({ name: "parked", errorClass: "unknown_outcome" });
    expect(await engine.row(id)).toMatchObject({
      state: "parked",
      error: expect.stringMatching(/3 customers carry .* set uuid_be/),
    });
    expect(api.requests).toHaveLength(1);
  });

  test("that a person sends again waits like any other where the lookup finds nothing so soon", async () => {
    const { id } = await engine.insertAccount();
    const patient = { policy: { ...lookup.policy, applyingMaxMs: 60_000 } };
    api.next(noAnswer());
    api.nextLookup(unclear("unclear"), notThere());
    await engine.round(api, patient);
    await engine.round(api, patient);
    await engine.queue.retry({ ids: [id], errorClass: null });

    const waiting = await only(engine.round(api, patient));

    expect(waiting).toMatchObject({ name: "retry", errorClass: "unknown_outcome" });
    expect(await engine.row(id)).toMatchObject({ request: { retry: true } });
    expect(api.requests).toHaveLength(1);
  });

  test("that a person sends again is looked for first, and sent where the lookup still cannot tell", async () => {
    const found = await engine.insertAccount();
    const untold = await engine.insertAccount();
    api.next(noAnswer(), noAnswer());
    api.nextLookup(unclear("unclear"), unclear("unclear"));
    await engine.round(api, lookup);
    await engine.round(api, lookup);
    await engine.queue.retry({ ids: [found.id], errorClass: null });
    api.nextLookup(foundThere({ customer: "ext-there" }));
    await engine.round(api, lookup);
    await engine.queue.retry({ ids: [untold.id], errorClass: null });
    api.nextLookup(unclear("unclear"));

    await engine.round(api, lookup);

    expect(await engine.ids(found.id)).toMatchObject({ account: "ext-there" });
    expect((await engine.ids(untold.id)).account).toMatch(/^ext-customer/);
    const creates = api.requests.filter(({ operation }) => operation === "create");
    expect(creates).toHaveLength(3);
  });

  test.each(["stands on another account", "is journaled for another account"])(
    "is never given a customer whose id %s",
    async (where) => {
      const other = await engine.insertAccount();
      api.next(accepted({ customer: "ext-theirs" }));
      if (where === "stands on another account") await engine.round(api, lookup);
      else await crashAfterAnswer(other.id);
      await engine.query(
        "update account_sync.account set due_at = now() + interval '1 hour' where due_at is not null",
      );
      const { id } = await engine.insertAccount();
      api.next(noAnswer());
      api.nextLookup(foundThere({ customer: "ext-theirs" }));
      await engine.round(api, lookup);

      const outcome = await only(engine.round(api, lookup));

      expect(outcome).toMatchObject({
        name: "parked",
        errorClass: "unknown_outcome",
        error: expect.stringContaining(other.id),
      });
      expect((await engine.ids(id)).account).toBeNull();
    },
  );

  test("takes turns with others that found the same customer, and looks whose it is only then", async () => {
    const other = await engine.insertAccount();
    api.next(accepted({ customer: "ext-other" }));
    await engine.round(api, lookup);
    const { id } = await engine.insertAccount();
    api.next(noAnswer());
    await engine.round(api, lookup);
    api.nextLookup(foundThere({ customer: "ext-theirs" }));
    const { promise: turnIsOver, resolve: endTurn } = Promise.withResolvers<void>();

    const theirTurn = engine.db.transaction(async (tx) => {
      await tx.run("lock_external_id", ["ext-theirs"]);
      await turnIsOver;
    });
    const ours = only(engine.round(api, lookup));
    await eventually(async () => {
      const waiting = await engine.query(
        "select from pg_locks where locktype = 'advisory' and not granted and database = (select oid from pg_database where datname = current_database())",
      );
      expect(waiting).toHaveLength(1);
    });
    await engine.query("update m_account set uuid_be = 'ext-theirs' where id = $1", [other.id]);
    endTurn();
    await theirTurn;

    expect(await ours).toMatchObject({ name: "parked", errorClass: "unknown_outcome" });
    expect((await engine.ids(id)).account).toBeNull();
  });

  test("of two accounts with one number: only one of them gets the customer, also when both find it at once", async () => {
    for (let n = 0; n < 6; n += 1) await engine.insertAccount();
    api.next(...Array.from({ length: 6 }, () => noAnswer()));
    await engine.round(api, lookup);
    api.nextLookup(...Array.from({ length: 6 }, () => foundThere({ customer: "ext-one" })));

    const outcomes = Object.values(await engine.round(api, lookup));

    expect(outcomes.map((outcome) => outcome?.name).toSorted()).toEqual([
      ...Array.from({ length: 5 }, () => "parked"),
      "partial",
    ]);
    const owners = await engine.query("select from m_account where uuid_be = 'ext-one'");
    expect(owners).toHaveLength(1);
  });

  test("is not even looked for by somebody who has lost the lease", async () => {
    const { id } = await engine.insertAccount();
    api.next(noAnswer());
    await engine.round(api, lookup);
    const run = await engine.sync(api, {
      ...lookup,
      overrides: {
        connections: {
          of: async () => {
            await engine.query("update account_sync.account set lease_token = gen_random_uuid()");
            return CONNECTION;
          },
        },
      },
    });

    const outcome = await run(await claimDue());

    expect(outcome).toBeNull();
    expect(api.lookups).toEqual([]);
    expect(await engine.attempts(id)).toHaveLength(1);
  });

  test("is adopted once, also when the process dies between what it found and the write-back", async () => {
    const { id } = await engine.insertAccount();
    api.next(noAnswer());
    await engine.round(api, lookup);
    api.nextLookup(foundThere({ customer: "ext-there" }));
    const lease = heldLease();
    const run = await engine.sync(
      {
        ...api,
        lookUp: async (connection, asked) => {
          const found = await api.lookUp(connection, asked);
          lease.leave();
          return found;
        },
      },
      {
        ...lookup,
        overrides: {
          queue: {
            ...engine.queue,
            hold: () => Promise.reject(new Error("Connection terminated")),
          },
        },
      },
    );
    await expect(run(await claimDue(), lease)).rejects.toThrow("Connection terminated");
    await dueNow();

    await engine.round(api, lookup);

    expect(api.lookups).toHaveLength(1);
    expect(api.requests).toHaveLength(1);
    expect(await engine.ids(id)).toMatchObject({ account: "ext-there" });
    expect(await engine.row(id)).toMatchObject({ fingerprint: null });
  });

  test("gives tiers and PICs only the ids that are proven, and an update asks for the others", async () => {
    const account = await engine.insertAccount({ tiers: 2, pics: 2 });
    api.next(noAnswer());
    api.nextLookup(foundThere({ customer: "ext-c", tiers: ["t-1", "t-2"], crew: ["c-1", "c-2"] }));
    await engine.round(api, lookup);

    const adopted = await only(engine.round(api, lookup));

    expect(adopted).toMatchObject({ updated: { account: 1, tier: 0, pic: 0 } });
    expect(await engine.ids(account.id)).toMatchObject({
      account: "ext-c",
      tiers: [null, null],
      pics: [null, null],
    });
    await dueNow();
    await engine.round(api, lookup);
    expect(await engine.row(account.id)).toMatchObject({ state: "clean" });
  });

  test("after a crash is looked for, told as unknown once, and not told again", async () => {
    const { id } = await engine.insertAccount();
    const unknown: string[] = [];
    const observe = { unknownOutcome: (account: string) => void unknown.push(account) };
    const { promise: never } = Promise.withResolvers<ApiResult>();
    api.next(() => never);
    const run = await engine.sync(api, lookup);
    void run(await claimDue());
    await eventually(() => expect(api.requests).toHaveLength(1));
    await dueNow();
    api.nextLookup(noAnswerToLookup(), foundThere({ customer: "ext-there" }));

    await engine.round(api, { ...lookup, observe });
    await engine.round(api, { ...lookup, observe });

    expect(unknown).toEqual([id]);
    expect(api.requests).toHaveLength(1);
    expect(await engine.ids(id)).toMatchObject({ account: "ext-there" });
  });
});

async function dueNow(): Promise<void> {
  await engine.query("update account_sync.account set due_at = now() where due_at is not null");
}

function noAnswerToLookup() {
  const answer = noAnswer();
  if (answer.kind !== "failed") throw new Error("no answer is a failure");
  return answer;
}

/** The answer is in the journal, its ids are on no row yet. */
async function crashAfterAnswer(accountId: string): Promise<void> {
  await crashBeforeWriteBack();
  expect((await engine.ids(accountId)).account).toBeNull();
}

describe("a create", () => {
  test("that was certainly not sent goes out anew, with the newest data", async () => {
    const { id } = await engine.insertAccount();
    api.next(failed({}));
    await engine.round(api);
    await rename(id, "Newer");

    await engine.round(api);

    const [first, second] = api.requests;
    expect(second?.idempotencyKey).not.toBe(first?.idempotencyKey);
    expect(nameIn(second)).toBe("Newer");
  });

  test("that was not applied keeps its key and body, and the newest data follow as an update", async () => {
    const { id } = await engine.insertAccount();
    api.next(failed({ errorClass: "server", delivery: "not_applied", httpStatus: 503 }));
    await engine.round(api);
    await rename(id, "Newer");

    await engine.round(api);
    await engine.round(api);

    const [first, second, third] = api.requests;
    expect(second).toMatchObject({ idempotencyKey: first?.idempotencyKey, body: first?.body });
    expect(third).toMatchObject({ operation: "update" });
    expect(nameIn(third)).toBe("Newer");
    expect(await engine.row(id)).toMatchObject({ state: "clean" });
  });

  test("that names no customer in its answer is as good as unanswered", async () => {
    await engine.insertAccount();
    api.next(accepted({ customer: null, tiers: [] }));

    const outcome = await only(engine.round(api));

    expect(outcome).toMatchObject({ name: "parked", errorClass: "unknown_outcome" });
  });
});

describe("an update without an answer", () => {
  const update = async (account: Parameters<Engine["insertAccount"]>[0]) => {
    const inserted = await engine.insertAccount(account);
    await engine.round(api);
    api.requests.splice(0);
    return inserted;
  };

  test("that adds a tier is repeated with the same key before anything newer goes out", async () => {
    const { id } = await update({});
    await engine.query(
      "insert into m_account_package_tier (account_id, min_value, max_value, amount, start_date, end_date) values ($1, 0, 1, 1, '2026-01-01', '2026-02-01')",
      [id],
    );
    api.next(noAnswer());
    await engine.round(api);
    await rename(id, "Newer");

    await engine.round(api);
    await engine.round(api);

    const [first, second, third] = api.requests;
    expect(second).toMatchObject({ idempotencyKey: first?.idempotencyKey, body: first?.body });
    expect(nameIn(third)).toBe("Newer");
    expect(third?.idempotencyKey).not.toBe(first?.idempotencyKey);
  });

  test("that adds nothing is overtaken by the newest data", async () => {
    const { id } = await update({ tiers: 1 });
    await rename(id, "Lost");
    api.next(noAnswer());
    await engine.round(api);
    await rename(id, "Newest");

    await engine.round(api);

    expect(api.requests.map(nameIn)).toEqual(["Lost", "Newest"]);
    expect(await engine.row(id)).toMatchObject({ state: "clean" });
    expect((await engine.attempts(id)).map((attempt) => attempt["settled_at"])).not.toContain(null);
  });

  test("may have been applied: going back to the data before is sent, not taken for unchanged", async () => {
    const { id } = await update({});
    await rename(id, "Perhaps");
    api.next(noAnswer());
    await engine.round(api);
    await rename(id, "Toko Uji");

    await engine.round(api);

    expect(api.requests.map(nameIn)).toEqual(["Perhaps", "Toko Uji"]);
  });

  test("stays in doubt when the newer one that overtakes it is refused", async () => {
    const { id } = await update({});
    await rename(id, "Perhaps");
    api.next(noAnswer(), REJECTED);
    await engine.round(api);
    await rename(id, "Refused");
    await engine.round(api);
    await rename(id, "Toko Uji");

    await engine.round(api);

    expect(api.requests.map(nameIn)).toEqual(["Perhaps", "Refused", "Toko Uji"]);
  });

  test("is not in doubt when it was refused: going back to the data before needs no request", async () => {
    const { id } = await update({});
    await rename(id, "Refused");
    api.next(REJECTED);
    await engine.round(api);
    await rename(id, "Toko Uji");

    const outcome = await only(engine.round(api));

    expect(outcome).toMatchObject({ name: "unchanged" });
  });
});

describe("a child", () => {
  test("waits for its parent's id and is woken by it", async () => {
    const parent = await engine.insertAccount();
    const child = await engine.insertAccount({ parentId: parent.id });
    api.next(noAnswer({ delivery: "not_applied", errorClass: "server" }));
    const first = await engine.round(api);
    const asleep = await engine.row(child.id);
    await engine.round(api);
    const woken = await engine.row(child.id);
    await engine.round(api);

    expect(first[child.id]).toMatchObject({ name: "blocked", errorClass: null });
    expect(asleep).toMatchObject({ state: "blocked", blocked_by: parent.id });
    expect(asleep["due_in_ms"]).toBeGreaterThan(250_000);
    expect(woken["due_in_ms"]).toBeLessThanOrEqual(0);
    expect(await engine.ids(child.id)).toMatchObject({ account: expect.any(String) });
    expect(JSON.parse(api.requests.at(-1)?.body ?? "{}").customer.parent_id).toBe("ext-customer-1");
    expect(await engine.row(child.id)).toMatchObject({ state: "clean", blocked_by: null });
  });

  test("whose parent is written while it goes to sleep does not oversleep", async () => {
    const parent = await engine.insertAccount();
    const child = await engine.insertAccount({ parentId: parent.id });
    await engine.queue.fold();
    const parentClaim = await claimOne(engine.queue, parent.id);
    const childClaim = await claimOne(engine.queue, child.id);
    if (parentClaim === null || childClaim === null) throw new Error("both are due");
    const runParent = await engine.sync(api);
    // The child has been loaded, without its parent's id, when the parent's is written and wakes whoever sleeps.
    const runChild = await engine.sync(api, {
      overrides: {
        connections: {
          of: async () => {
            await runParent(parentClaim);
            return CONNECTION;
          },
        },
      },
    });

    const outcome = await runChild(childClaim);

    expect(outcome).toMatchObject({ name: "blocked" });
    expect((await engine.row(child.id))["due_in_ms"]).toBeLessThanOrEqual(0);
  });

  test("in a cycle is told who is in it", async () => {
    const a = await engine.insertAccount();
    const b = await engine.insertAccount({ parentId: a.id });
    await engine.query('update m_account set "parentId" = $2 where id = $1', [a.id, b.id]);

    const outcomes = await engine.round(api);

    expect(outcomes[a.id]).toMatchObject({ name: "blocked", errorClass: "validation" });
    expect(outcomes[a.id]?.error).toContain(a.id);
    expect(outcomes[a.id]?.error).toContain(b.id);
    expect(await engine.row(a.id)).toMatchObject({ state: "blocked" });
    expect(api.requests).toEqual([]);
  });

  test("is not sent with a parent whose id is blank", async () => {
    const parent = await engine.insertAccount();
    await engine.query("update m_account set uuid_be = ' '");
    const child = await engine.insertAccount({ parentId: parent.id });
    await engine.queue.fold();
    const claim = await claimOne(engine.queue, child.id);
    if (claim === null) throw new Error("the child is due");

    const outcome = await (await engine.sync(api))(claim);

    expect(outcome).toMatchObject({ name: "blocked" });
    expect((await engine.row(child.id))["due_in_ms"]).toBeGreaterThan(250_000);
  });
});

describe("an answer that lacks ids", () => {
  test("is partial, and an update follows that asks for them", async () => {
    const { id } = await engine.insertAccount({ tiers: 2 });
    api.next(accepted({ customer: "ext-1", tiers: ["ext-t1"] }));

    const partial = await only(engine.round(api));
    const state = await engine.row(id);
    await engine.round(api);

    expect(partial).toMatchObject({
      name: "partial",
      errorClass: "incomplete",
      updated: { account: 1 },
      failed: [{ entity: "tier", reason: "incomplete", count: 2 }],
    });
    expect(state).toMatchObject({ state: "retrying", attempts: 1, fingerprint: null });
    expect(api.requests[1]).toMatchObject({ operation: "update", externalId: "ext-1" });
    expect(await engine.row(id)).toMatchObject({ state: "clean", attempts: 0 });
  });

  test("is parked as incomplete after five tries", async () => {
    const { id } = await engine.insertAccount({ tiers: 2 });
    const half = accepted({ customer: "ext-1", tiers: ["ext-t1"] });
    api.next(half, half, half, half, half, half);

    const names = [];
    for (let round = 0; round < 6; round += 1)
      for (const outcome of Object.values(await engine.round(api))) names.push(outcome?.name);

    expect(names).toEqual(["partial", "partial", "partial", "partial", "parked"]);
    expect(await engine.row(id)).toMatchObject({ state: "parked", error_class: "incomplete" });
    expect(api.requests).toHaveLength(5);
  });
});

describe("an id conflict", () => {
  const withConflict = async () => {
    const account = await engine.insertAccount({ tiers: 1 });
    await engine.round(api);
    await engine.query("update m_account_package_tier set uuid_be = 'ours' where account_id = $1", [
      account.id,
    ]);
    await rename(account.id, "Newer");
    api.next(accepted({ customer: "ext-customer-1", tiers: ["theirs"] }));
    return account;
  };

  test("keeps the id of the row, is told and counted, and ends clean", async () => {
    const { id } = await withConflict();
    const conflicts: unknown[] = [];

    const outcome = await only(
      engine.round(api, { observe: { idConflict: (conflict) => void conflicts.push(conflict) } }),
    );

    expect(outcome).toMatchObject({
      name: "partial",
      errorClass: "id_conflict",
      error: expect.stringContaining("theirs"),
      failed: [{ entity: "tier", reason: "id_conflict", count: 1 }],
    });
    expect(conflicts).toEqual([{ accountId: id, entity: "tier" }]);
    expect(await engine.ids(id)).toMatchObject({ tiers: ["ours"] });
    expect(await engine.row(id)).toMatchObject({ state: "clean" });
  });

  test("is resolved for the API's id by a person who insists; the old one stays in the history", async () => {
    const { id } = await withConflict();
    await request(id);

    const outcome = await only(engine.round(api));

    expect(outcome).toMatchObject({ name: "synced" });
    expect(await engine.ids(id)).toMatchObject({ tiers: ["theirs"] });
    expect((await engine.attempts(id)).at(-1)?.["sent"]).toMatchObject({
      tiers: [{ externalId: "ours" }],
    });
  });
});

describe("an account that cannot be sent", () => {
  test("is parked when the API refuses it, until its data change", async () => {
    const { id } = await engine.insertAccount({ tiers: 1 });
    api.next(REJECTED);

    const outcome = await only(engine.round(api));
    await engine.round(api);
    const parked = await engine.row(id);
    await rename(id, "Newer");
    await engine.round(api);

    expect(outcome).toMatchObject({
      name: "parked",
      errorClass: "rejected",
      httpStatus: 422,
      error: "answered 422: *** is not welcome",
      failed: [
        { entity: "account", reason: "rejected", count: 1 },
        { entity: "tier", reason: "rejected", count: 1 },
      ],
    });
    expect(parked).toMatchObject({ state: "parked" });
    expect(api.requests).toHaveLength(2);
    expect(api.requests[1]?.idempotencyKey).not.toBe(api.requests[0]?.idempotencyKey);
    expect(await engine.row(id)).toMatchObject({ state: "clean", error: null });
  });

  test("is parked when it is not valid, with the fields and without the values", async () => {
    const { id } = await engine.insertAccount({ name: " ", pics: 1 });
    await engine.query("update m_account set email = 'secret@@example' where id = $1", [id]);

    const outcome = await only(engine.round(api));

    expect(outcome).toMatchObject({ name: "parked", errorClass: "validation", operation: null });
    const { error } = await engine.row(id);
    expect(error).toContain("customer.name");
    expect(error).toContain("customer.email");
    expect(error).not.toContain("secret");
    expect(api.requests).toEqual([]);
  });

  test("is told what is wrong in Bahasa Indonesia, where that is the language", async () => {
    const { id } = await engine.insertAccount({ name: " " });

    await engine.round(api, { policy: { language: "id" } });

    expect(await engine.row(id)).toMatchObject({
      state: "parked",
      error: "Validasi gagal: customer.name wajib diisi; branch.name wajib diisi",
    });
  });

  test("has its warnings counted, in the history too, whatever became of it", async () => {
    const { id } = await engine.insertAccount();
    const told: string[][] = [];
    const observe: Partial<Observe> = {
      validated: ({ warnings }) => void told.push(warnings.map(({ field }) => field)),
    };

    await engine.round(api, { observe });
    await engine.change(id);
    await engine.round(api, { observe });
    await rename(id, " ");
    await engine.round(api, { observe });

    const history = await engine.query(
      "select outcome, warnings from account_sync.history where account_id = $1 order by started_at",
      [id],
    );
    expect(history).toEqual([
      { outcome: "synced", warnings: 3 },
      { outcome: "unchanged", warnings: 3 },
      { outcome: "parked", warnings: 3 },
    ]);
    const fields = ["customer.address.city", "customer.address.state", "customer.customer_role"];
    expect(told).toEqual([fields, fields, fields]);
  });

  test("leaves a fingerprint of each field, by which a later one tells what changed", async () => {
    const { id } = await engine.insertAccount({ tiers: 1 });

    await engine.round(api);
    await rename(id, "Toko Lain");
    await engine.round(api);

    const [first, second] = (await engine.attempts(id)).map((row) => row["field_fingerprints"]);
    const changed = Object.keys(first).filter((path) => first[path] !== second[path]);
    expect(Object.keys(second)).toEqual(Object.keys(first));
    expect(Object.keys(first)).toContain("tier[0].fee");
    expect(changed.sort()).toEqual(["branch.name", "customer.name"]);
    expect(JSON.stringify([first, second])).not.toContain("Toko");
  });

  test("that is repeated after a silence takes warnings and field fingerprints along", async () => {
    const { id } = await engine.insertAccount();
    api.next(noAnswer());

    await engine.round(api, { policy: { unknownOutcome: "resend" } });
    await engine.round(api, { policy: { unknownOutcome: "resend" } });

    const [first, second] = await engine.attempts(id);
    expect(second).toMatchObject({
      outcome: "synced",
      warnings: 3,
      field_fingerprints: first?.["field_fingerprints"],
    });
  });

  test("is parked when it has too many rows, with the figures and the limit, and is not read", async () => {
    const { id } = await engine.insertAccount();
    const small = await engine.insertAccount({ tiers: 3 });
    await engine.query(
      `insert into m_account_pic (account_id, name, phone_no, email)
       select $1, 'Budi Rahasia', '0812000000', '' from generate_series(1, 2001)`,
      [id],
    );

    const outcomes = await engine.round(api);

    expect(outcomes[id]).toMatchObject({ name: "parked", errorClass: "validation" });
    expect(outcomes[id]?.error).toMatch(
      /2001 rows of m_account_pic with \d+ bytes; at most 2000 rows/,
    );
    expect(outcomes[id]?.error).not.toContain("Rahasia");
    expect(outcomes[small.id]).toMatchObject({ name: "synced" });
    await engine.query(
      "delete from m_account_pic where ctid in (select ctid from m_account_pic limit 1)",
    );
    await engine.round(api);
    expect(JSON.parse(api.requests.at(-1)?.body ?? "")["customer-crew"]).toHaveLength(2_000);
    expect(await engine.row(id)).toMatchObject({ state: "clean" });
  });

  test("is parked when its rows have too many bytes, alone and in a batch", async () => {
    const { id } = await engine.insertAccount();
    await engine.query(
      `insert into m_account_pic (account_id, name, phone_no, email) values ($1, 'Budi', '0812000000', repeat('x', 1100000))`,
      [id],
    );

    const alone = await only(engine.round(api));
    await engine.insertAccount();
    await engine.change(id);
    const among = (await engine.round(api))[id];

    for (const outcome of [alone, among]) {
      expect(outcome).toMatchObject({
        name: "parked",
        errorClass: "validation",
        error: expect.stringMatching(/1 row of m_account_pic with 11000\d\d bytes/),
      });
    }
  });

  test("is parked when its command is too large, though each table is not", async () => {
    const { id } = await engine.insertAccount();
    await engine.query(
      `insert into m_account_pic (account_id, name, phone_no, email, username)
       select $1, repeat('"', 100), '0812000000', '', repeat('"', 100) from generate_series(1, 2000)`,
      [id],
    );
    await engine.query(
      `insert into m_account_package_tier (account_id, min_value, max_value, amount, start_date, end_date)
       select $1, n, n + 1, 5, '2026-01-01', '2026-12-31' from generate_series(1, 2000) n`,
      [id],
    );

    const outcome = await only(engine.round(api));

    expect(outcome).toMatchObject({
      name: "parked",
      errorClass: "validation",
      error: expect.stringMatching(/^The command has \d{7} bytes; at most 1048576 are sent$/),
    });
    expect(api.requests).toEqual([]);
  });

  test("of half a megabyte goes out whole, 20 of them at once, and comes back after a crash", async () => {
    const accounts = [];
    for (let n = 0; n < 20; n += 1) accounts.push(await engine.insertAccount());
    await engine.query(
      `insert into m_account_pic (account_id, name, phone_no, email)
       select id, 'Budi', '0812000000', repeat('x', 500000) || '@example.com' from m_account`,
    );
    api.next(...accounts.map(() => noAnswer()));
    const lengths = () => api.requests.map(({ body }) => body?.length ?? 0);

    await engine.round(api, { policy: { unknownOutcome: "resend" } });
    await engine.round(api, { policy: { unknownOutcome: "resend" } });

    expect(lengths()).toHaveLength(40);
    expect(Math.min(...lengths())).toBeGreaterThan(500_000);
    expect(new Set(api.requests.map(({ body }) => body)).size).toBe(1);
  });

  test("is tried again on errors that may pass, for ever, or as often as it may", async () => {
    const { id } = await engine.insertAccount();
    const down = failed({});
    api.next(down, down, down);

    for (let round = 0; round < 3; round += 1)
      await engine.round(api, { policy: { maxAttempts: 3 } });

    expect(await engine.row(id)).toMatchObject({ state: "parked", error_class: "network" });
    expect(api.requests).toHaveLength(3);
  });

  test("uses up no attempt when the failure says nothing about it", async () => {
    const { id } = await engine.insertAccount();
    api.next(failed({ errorClass: "throttled", countsAsAttempt: false, retryAfterMs: 7_000 }));

    await engine.round(api, { policy: { maxAttempts: 1 } });

    const row = await engine.row(id);
    expect(row).toMatchObject({ state: "retrying", attempts: 0, error_class: "throttled" });
    expect(row["due_in_ms"]).toBeGreaterThan(6_000);
  });
});

describe("a poison account", () => {
  test("that breaks the transform is parked after five tries, and the others are synced", async () => {
    const poison = await engine.insertAccount({ name: "Poison" });
    const good = await engine.insertAccount();
    const mapping = {
      get defaultCountry(): string {
        throw new RangeError("Connection of Toko Uji is closed");
      },
      referenceField: null,
    };
    const run = await engine.sync(api, { overrides: { mapping } });

    const names = [];
    for (let round = 0; round < 6; round += 1) {
      await engine.queue.fold();
      const claim = await claimOne(engine.queue, poison.id);
      if (claim !== null) names.push((await run(claim))?.name);
    }
    const others = await engine.round(api);

    expect(names).toEqual(["retry", "retry", "retry", "retry", "parked"]);
    expect(others[good.id]).toMatchObject({ name: "synced" });
    const row = await engine.row(poison.id);
    expect(row).toMatchObject({ state: "parked", error_class: "database" });
    expect(row["error"]).toContain("RangeError");
    expect(row["error"]).not.toContain("Toko");
  });

  test("that breaks the load costs only itself", async () => {
    const poison = await engine.insertAccount({ name: "Poison" });
    const good = await engine.insertAccount();
    await engine.query(`
      alter table m_account rename to m_account_table;
      create function poison(name varchar) returns varchar language sql immutable
        as $$ select case when name = 'Poison' then (1 / (length(name) - 6))::varchar else name end $$;
      create view m_account as select id, account_no, poison(name) as name, phone_no, email, account_type_id, is_active, no_ktp, no_npwp, uuid_be, branch_uuid_be, "parentId", updated_by, updated_at from m_account_table`);
    try {
      const outcomes = await engine.round(api);

      expect(outcomes[poison.id]).toMatchObject({ name: "retry", errorClass: "database" });
      expect(outcomes[poison.id]?.error).toContain("22012");
      expect(outcomes[good.id]?.name).not.toBe("retry");
      expect(await engine.row(poison.id)).toMatchObject({ attempts: 1, state: "retrying" });
    } finally {
      await engine.query(
        "drop view m_account; drop function poison; alter table m_account_table rename to m_account",
      );
    }
  });

  test("is not what an account is when a right was revoked: it is tried for ever", async () => {
    const { id } = await engine.insertAccount();
    await engine.query("alter table m_account_pic rename to m_account_pic_gone");
    try {
      for (let round = 0; round < 6; round += 1) await engine.round(api);

      expect(await engine.row(id)).toMatchObject({ state: "retrying", attempts: 0 });
    } finally {
      await engine.query("alter table m_account_pic_gone rename to m_account_pic");
    }
    await engine.round(api);

    expect(await engine.row(id)).toMatchObject({ state: "clean" });
  });
});

describe("an API that asked another replica to be left alone", () => {
  test("is not sent to, nothing is journaled, and no attempt is used up", async () => {
    const { id } = await engine.insertAccount();
    const held: number[] = [];
    await createRateLimit(engine.db, 0).hold(CONNECTION.baseUrl, 60_000);

    const outcomes = await engine.round({ ...api, hold: (_, forMs) => held.push(forMs) });

    expect(outcomes[id]).toMatchObject({ name: "retry", errorClass: "throttled" });
    expect(api.requests).toHaveLength(0);
    expect(held).toHaveLength(1);
    expect(held[0]).toBeGreaterThan(50_000);
    const row = await engine.row(id);
    expect(row).toMatchObject({ state: "retrying", attempts: 0 });
    expect(row["due_in_ms"]).toBeGreaterThan(50_000);
    expect(await engine.query("select from account_sync.attempt where settled_at is null")).toEqual(
      [],
    );
    expect(await engine.attempts(id)).toMatchObject([{ outcome: "retry", warnings: 3 }]);
  });

  test("is sent to as soon as the time is over, and a shorter wait does not end a longer one", async () => {
    const rateLimit = createRateLimit(engine.db, 0);
    const { signal } = new AbortController();
    await rateLimit.hold("http://one.example", 300);
    await rateLimit.hold("http://one.example", 10);

    expect(await rateLimit.waitForTurn("http://one.example", signal)).toMatchObject({
      kind: "held",
    });
    expect(await rateLimit.waitForTurn("http://other.example", signal)).toEqual({ kind: "now" });
    await eventually(async () =>
      expect(await rateLimit.waitForTurn("http://one.example", signal)).toEqual({ kind: "now" }),
    );
  });
});

test("connections that are killed all the time cost no id and no second create", async () => {
  const accounts: string[] = [];
  for (let index = 0; index < 25; index += 1)
    accounts.push((await engine.insertAccount({ tiers: 1, pics: 1 })).id);
  const run = await engine.sync(api);
  let isOver = false;
  const killer = (async () => {
    while (!isOver) {
      const startedAt = performance.now();
      // Through a connection of its own: the sync's are called otherwise.
      await engine.query(
        `select pg_terminate_backend(pid) from pg_stat_activity
         where datname = current_database() and application_name = 'account-sync test' and random() < 0.5`,
      );
      // In the middle of a transaction mostly, and yet some come to their end, also where everything takes ten times as long.
      await sleep((15 + Math.random() * 30) * Math.max(1, (performance.now() - startedAt) / 3));
    }
  })();
  const worker = async () => {
    while (!isOver) {
      const claims = await engine.queue
        .fold()
        .then(() => engine.queue.claim(3))
        .catch(() => []);
      await Promise.all(
        claims.map((claim) =>
          run(claim).catch(() => engine.queue.release([claim]).catch(() => {})),
        ),
      );
      // What the database did not hear of runs out, as a short lease would.
      await engine.query(
        "update account_sync.account set due_at = now() where due_at < now() + interval '22 s'",
      );
      await sleep(5);
    }
  };
  const workers = [worker(), worker(), worker()];

  try {
    await eventually(
      async () => {
        const rows = await engine.query("select from m_account where uuid_be is not null");
        expect(rows).toHaveLength(accounts.length);
      },
      { timeoutMs: 25_000 },
    );
  } finally {
    isOver = true;
    await Promise.all([killer, ...workers]);
  }

  const creates = api.requests.filter(({ operation }) => operation === "create");
  expect(new Set(creates.map(({ idempotencyKey }) => idempotencyKey)).size).toBe(accounts.length);
  expect(creates).toHaveLength(accounts.length);
  expect(
    await engine.query("select from account_sync.account where parked_at is not null"),
  ).toEqual([]);
}, 40_000);
