/** The answer to a create comes after its lease was lost: it is used where it can be, and told where it cannot. */
import { beforeAll, beforeEach, describe, expect, test } from "vitest";
import { createEngine, type Engine, only } from "../../support/engine.ts";
import { accepted, createFakeApi, type FakeApi, noAnswer } from "../../support/fake-api.ts";
import { beforeTheJournal, sendPastItsLease } from "../../support/interruptions.ts";

let engine: Engine;
let api: FakeApi;

beforeAll(async () => {
  engine = await createEngine();
});

beforeEach(async () => {
  await engine.reset();
  api = createFakeApi();
});

/** Another worker, which lost its lease, journals its answer between our load and our journal. */
const answeredMeanwhile = () =>
  engine.query(
    `update account_sync.attempt set delivery = 'answered',
       received = '{"customer": "ext-late", "branch": null, "tiers": [], "pics": [], "problems": []}'`,
  );

describe("a create without an answer", () => {
  test("whose answer comes after the lease was lost and the account was parked is finished all the same", async () => {
    const { id } = await engine.insertAccount();
    const overdue = await sendPastItsLease(engine, api);
    const parked = await only(engine.round(api));

    const late = await overdue.answer(accepted({ customer: "ext-late" }));
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
    const overdue = await sendPastItsLease(engine, api);
    await engine.round(api);
    await engine.queue.retry({ ids: [id], errorClass: null });

    const waiting = await only(engine.round(api, { policy: { applyingMaxMs: 60_000 } }));
    const row = await engine.row(id);
    await overdue.answer(accepted({ customer: "ext-first" }));
    await engine.makeDue();
    await engine.round(api);

    expect(waiting).toMatchObject({
      name: "retry",
      errorClass: "unknown_outcome",
      error: expect.stringMatching(/nothing is sent beside it for [56]\d s more/),
      failed: [],
    });
    expect(row).toMatchObject({ parked_at: null, request: { retry: true }, attempts: 0 });
    expect(row["due_in_ms"]).toBeGreaterThan(50_000);
    expect(api.requests).toHaveLength(1);
    expect(await engine.ids(id)).toMatchObject({ account: "ext-first" });
  });

  test("that was sent again and is answered after all is told: there may be two customers", async () => {
    const { id } = await engine.insertAccount();
    const warnings: unknown[] = [];
    const overdue = await sendPastItsLease(engine, api, {
      observe: { strayCustomer: (customer) => warnings.push(customer) },
    });
    await engine.round(api);
    await engine.queue.retry({ ids: [id], errorClass: null });
    await engine.round(api);

    await overdue.answer(accepted({ customer: "ext-paused" }));

    expect(warnings).toEqual([{ accountId: id, stray: "made twice" }]);
    const [first] = await engine.attempts(id);
    expect(first).toMatchObject({ received: { customer: "ext-paused" } });
    expect(await engine.ids(id)).toMatchObject({ account: "ext-customer-1" });
  });

  test("whose account was removed before its answer came is told: nobody else knows that customer", async () => {
    const { id } = await engine.insertAccount();
    const strays: unknown[] = [];
    const overdue = await sendPastItsLease(engine, api, {
      observe: { strayCustomer: (customer) => strays.push(customer) },
    });
    await engine.query("delete from m_account where id = $1", [id]);
    await engine.round(api);

    await overdue.answer(accepted({ customer: "ext-late" }));

    expect(strays).toEqual([{ accountId: id, stray: "given up" }]);
  });

  test("is not parked for good when its answer comes in at the last moment", async () => {
    const { id } = await engine.insertAccount();
    api.next(noAnswer());
    await engine.round(api);
    await engine.query(
      "update account_sync.account set parked_at = null, due_at = now(), error_class = null",
    );
    const run = await engine.sync(api, beforeTheJournal(answeredMeanwhile));

    const outcome = await run(await engine.claimNext());
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
      ...beforeTheJournal(answeredMeanwhile),
    });

    const outcome = await run(await engine.claimNext());
    await engine.round(api);

    expect(outcome).toBeNull();
    expect(api.requests).toHaveLength(1);
    expect(await engine.ids(id)).toMatchObject({ account: "ext-late" });
  });
});
