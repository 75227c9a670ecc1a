/** A child account waits for the external id of its parent. */
import { beforeAll, beforeEach, describe, expect, test } from "vitest";
import { claimOne, createEngine, type Engine } from "../../support/engine.ts";
import { createFakeApi, type FakeApi, noAnswer } from "../../support/fake-api.ts";
import { beforeTheJournal } from "../../support/interruptions.ts";

let engine: Engine;
let api: FakeApi;

beforeAll(async () => {
  engine = await createEngine();
});

beforeEach(async () => {
  await engine.reset();
  api = createFakeApi();
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
    // The child has been loaded, without its parent's id, when the parent's id is written and wakes the children that wait.
    const runChild = await engine.sync(
      api,
      beforeTheJournal(() => runParent(parentClaim)),
    );

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
