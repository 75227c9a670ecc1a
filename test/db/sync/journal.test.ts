/** The journal of sends: written before each request and after each answer, so that a crash loses no id and repeats no create. */
import { beforeAll, beforeEach, describe, expect, test } from "vitest";
import { createEngine, type Engine, only } from "../../support/engine.ts";
import { accepted, createFakeApi, type FakeApi, nameIn, noAnswer } from "../../support/fake-api.ts";
import {
  crashBeforeWriteBack,
  losingOneAnswer,
  pausedPastItsLease,
} from "../../support/interruptions.ts";

let engine: Engine;
let api: FakeApi;

beforeAll(async () => {
  engine = await createEngine();
});

beforeEach(async () => {
  await engine.reset();
  api = createFakeApi();
});

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
    await crashBeforeWriteBack(engine, api);
    const [journaled] = await engine.attempts(account.id);
    await engine.makeDue();

    const outcome = await only(engine.round(api));

    expect(journaled).toMatchObject({ delivery: "answered", settled_at: null });
    expect(outcome).toMatchObject({ name: "synced", updated: { account: 1, tier: 1, pic: 1 } });
    expect(api.requests).toHaveLength(1);
    expect(await engine.ids(account.id)).toMatchObject({ account: "ext-customer-1" });
    expect(await engine.attempts(account.id)).toHaveLength(1);
  });

  test("finishes the answered send of before, then sends what changed since", async () => {
    const { id } = await engine.insertAccount();
    await crashBeforeWriteBack(engine, api);
    await engine.rename(id, "Newer");
    await engine.makeDue();

    await engine.round(api);
    await engine.round(api);

    expect(api.requests.map(({ operation }) => operation)).toEqual(["create", "update"]);
    expect(api.requests.map(nameIn)).toEqual(["Toko Uji", "Newer"]);
  });

  test("is written again when the answer to its commit was lost, and one request goes out", async () => {
    const { id } = await engine.insertAccount();
    const run = await engine.sync(api, losingOneAnswer(engine, "journal_sends"));

    const outcome = await run(await engine.claimNext());

    expect(outcome).toMatchObject({ name: "synced" });
    expect(api.requests).toHaveLength(1);
    expect(await engine.attempts(id)).toHaveLength(1);
  });

  test("is not told of a customer of nobody's when the answer to the settling's commit was lost", async () => {
    const { id } = await engine.insertAccount();
    const strays: unknown[] = [];
    const observe = { strayCustomer: (stray: unknown) => void strays.push(stray) };
    const run = await engine.sync(api, { ...losingOneAnswer(engine, "settle_accounts"), observe });

    await run(await engine.claimNext());
    await engine.round(api);

    expect(strays).toEqual([]);
    expect(api.requests).toHaveLength(1);
    expect(await engine.attempts(id)).toMatchObject([{ outcome: "synced", delivery: "answered" }]);
    expect(await engine.row(id)).toMatchObject({ state: "clean" });
  });

  test("nothing is sent when the lease was lost before", async () => {
    await engine.insertAccount();
    const run = await engine.sync(api);
    const lost = await engine.claimNext();
    await engine.makeDue();
    await engine.queue.claim(1);

    const outcome = await run(lost);

    expect(outcome).toBeNull();
    expect(api.requests).toEqual([]);
    expect(await engine.query("select from account_sync.attempt")).toEqual([]);
  });

  test("nothing is sent after a sleep in which somebody else may have taken over", async () => {
    const { id } = await engine.insertAccount();
    const run = await engine.sync(api, pausedPastItsLease(engine));

    const outcome = await run(await engine.claimNext());

    expect(outcome).toBeNull();
    expect(api.requests).toEqual([]);
    expect(await engine.attempts(id)).toMatchObject([{ delivery: "sending" }]);
  });
});
