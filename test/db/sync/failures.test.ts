/** An account that fails: refused by the API, tried again, or broken in itself, and what that costs the others. */
import { beforeAll, beforeEach, describe, expect, test } from "vitest";
import { claimOne, createEngine, type Engine, only } from "../../support/engine.ts";
import { createFakeApi, type FakeApi, failed, rejected } from "../../support/fake-api.ts";

let engine: Engine;
let api: FakeApi;

beforeAll(async () => {
  engine = await createEngine();
});

beforeEach(async () => {
  await engine.reset();
  api = createFakeApi();
});

describe("an account that cannot be sent", () => {
  test("is parked when the API refuses it, until its data change", async () => {
    const { id } = await engine.insertAccount({ tiers: 1 });
    api.next(rejected());

    const outcome = await only(engine.round(api));
    await engine.round(api);
    const parked = await engine.row(id);
    await engine.rename(id, "Newer");
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
