/** An account that was removed: its customer stays, or is deleted at the API where ON_ACCOUNT_DELETE asks for it. */
import { beforeAll, beforeEach, describe, expect, test } from "vitest";
import { createEngine, type Engine, only } from "../../support/engine.ts";
import {
  createFakeApi,
  type FakeApi,
  failed,
  foundThere,
  noAnswer,
  rejected,
} from "../../support/fake-api.ts";
import { crashBeforeWriteBack, whileWaitingForItsTurn } from "../../support/interruptions.ts";

let engine: Engine;
let api: FakeApi;

beforeAll(async () => {
  engine = await createEngine();
});

beforeEach(async () => {
  await engine.reset();
  api = createFakeApi();
});

describe("an account that was removed", () => {
  const deleting = { policy: { onAccountDelete: "delete" as const } };
  const remove = (id: string) => engine.query("delete from m_account where id = $1", [id]);
  const insertAgain = (id: string) =>
    engine.query(
      "insert into m_account (id, account_no, name, phone_no, email, uuid_be) values ($1, 'A-1', 'Toko', '081234567890', '', 'ext-customer-1')",
      [id],
    );

  test("is gone, and its customer stays, where nothing else is asked for", async () => {
    const { id } = await engine.insertAccount();
    await engine.round(api);
    await remove(id);

    const outcome = await only(engine.round(api));

    expect(outcome).toMatchObject({ name: "gone", operation: null });
    expect(api.requests.map(({ operation }) => operation)).toEqual(["create"]);
  });

  test("is deleted by the id that its row had, also where another one is mapped", async () => {
    const { id } = await engine.insertAccount();
    await engine.round(api, deleting);
    await engine.query("update m_account set uuid_be = 'by-hand' where id = $1", [id]);
    await remove(id);

    await engine.round(api, deleting);

    expect(api.requests.at(-1)).toMatchObject({ operation: "delete", externalId: "by-hand" });
  });

  test("takes its customer along where that is asked for, by the id that it had", async () => {
    const { id } = await engine.insertAccount({ tiers: 1 });
    await engine.round(api, deleting);
    await engine.query("delete from m_account_package_tier where account_id = $1", [id]);
    await remove(id);

    const outcome = await only(engine.round(api, deleting));
    await engine.forceSync(id);
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
    api.next(rejected());

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
    await crashBeforeWriteBack(engine, api);
    await remove(id);
    await engine.makeDue();

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
    await engine.putOffAll();
    // One after the other: which of two comes first is nobody's promise.
    await remove(found.id);
    api.nextLookup(foundThere({ customer: "ext-there" }));
    await engine.makeDue(found.id);
    await engine.round(api, looking);
    await engine.makeDue(found.id);
    const first = await only(engine.round(api, looking));
    await engine.putOffAll();
    await remove(unknown.id);
    await engine.makeDue(unknown.id);
    const second = await only(engine.round(api, looking));

    expect(first).toMatchObject({ name: "gone", operation: "delete" });
    expect(second).toMatchObject({
      name: "gone",
      operation: null,
      error: expect.stringContaining("a customer that is not known here"),
    });
    expect(api.requests.map(({ operation }) => operation)).toEqual(["create", "create", "delete"]);
    expect(api.requests[2]?.externalId).toBe("ext-there");
  });

  test("and inserted again is a live account: nothing of it is deleted", async () => {
    const { id } = await engine.insertAccount();
    await engine.round(api, deleting);
    await remove(id);
    await insertAgain(id);

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
      ...whileWaitingForItsTurn(() => insertAgain(id)),
    });
    await engine.queue.fold();

    const outcome = await run(await engine.claimNext());
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
