/** What the answer holds besides the ids we expect: too few of them, or others than the rows have. */
import { beforeAll, beforeEach, describe, expect, test } from "vitest";
import { createEngine, type Engine, only } from "../../support/engine.ts";
import { accepted, createFakeApi, type FakeApi } from "../../support/fake-api.ts";

let engine: Engine;
let api: FakeApi;

beforeAll(async () => {
  engine = await createEngine();
});

beforeEach(async () => {
  await engine.reset();
  api = createFakeApi();
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
    await engine.rename(account.id, "Newer");
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
    await engine.query("select account_sync.request($1::text, replace => true)", [id]);

    const outcome = await only(engine.round(api));

    expect(outcome).toMatchObject({ name: "synced" });
    expect(await engine.ids(id)).toMatchObject({ tiers: ["theirs"] });
    expect((await engine.attempts(id)).at(-1)?.["sent"]).toMatchObject({
      tiers: [{ externalId: "ours" }],
    });
  });
});
