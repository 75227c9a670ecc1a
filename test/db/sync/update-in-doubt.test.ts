/** An update whose outcome is unknown: repeated where it adds rows, otherwise overtaken by newer data. */
import { beforeAll, beforeEach, describe, expect, test } from "vitest";
import { createEngine, type Engine, only } from "../../support/engine.ts";
import { createFakeApi, type FakeApi, nameIn, noAnswer, rejected } from "../../support/fake-api.ts";

let engine: Engine;
let api: FakeApi;

beforeAll(async () => {
  engine = await createEngine();
});

beforeEach(async () => {
  await engine.reset();
  api = createFakeApi();
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
    await engine.rename(id, "Newer");

    await engine.round(api);
    await engine.round(api);

    const [first, second, third] = api.requests;
    expect(second).toMatchObject({ idempotencyKey: first?.idempotencyKey, body: first?.body });
    expect(nameIn(third)).toBe("Newer");
    expect(third?.idempotencyKey).not.toBe(first?.idempotencyKey);
  });

  test("that adds nothing is overtaken by the newest data", async () => {
    const { id } = await update({ tiers: 1 });
    await engine.rename(id, "Lost");
    api.next(noAnswer());
    await engine.round(api);
    await engine.rename(id, "Newest");

    await engine.round(api);

    expect(api.requests.map(nameIn)).toEqual(["Lost", "Newest"]);
    expect(await engine.row(id)).toMatchObject({ state: "clean" });
    expect((await engine.attempts(id)).map((attempt) => attempt["settled_at"])).not.toContain(null);
  });

  test("may have been applied: going back to the data before is sent, not taken for unchanged", async () => {
    const { id } = await update({});
    await engine.rename(id, "Perhaps");
    api.next(noAnswer());
    await engine.round(api);
    await engine.rename(id, "Toko Uji");

    await engine.round(api);

    expect(api.requests.map(nameIn)).toEqual(["Perhaps", "Toko Uji"]);
  });

  test("stays in doubt when the newer one that overtakes it is refused", async () => {
    const { id } = await update({});
    await engine.rename(id, "Perhaps");
    api.next(noAnswer(), rejected());
    await engine.round(api);
    await engine.rename(id, "Refused");
    await engine.round(api);
    await engine.rename(id, "Toko Uji");

    await engine.round(api);

    expect(api.requests.map(nameIn)).toEqual(["Perhaps", "Refused", "Toko Uji"]);
  });

  test("is not in doubt when it was refused: going back to the data before needs no request", async () => {
    const { id } = await update({});
    await engine.rename(id, "Refused");
    api.next(rejected());
    await engine.round(api);
    await engine.rename(id, "Toko Uji");

    const outcome = await only(engine.round(api));

    expect(outcome).toMatchObject({ name: "unchanged" });
  });
});
