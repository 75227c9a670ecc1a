/** One account from its claim to its outcome: what is sent, what is written back, and when nothing is sent. */
import { beforeAll, beforeEach, describe, expect, test } from "vitest";
import { createEngine, type Engine, only } from "../../support/engine.ts";
import { accepted, createFakeApi, type FakeApi, nameIn } from "../../support/fake-api.ts";

let engine: Engine;
let api: FakeApi;

beforeAll(async () => {
  engine = await createEngine();
});

beforeEach(async () => {
  await engine.reset();
  api = createFakeApi();
});

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
    await engine.change(id, { request: {} });
    const unchanged = await only(engine.round(api));
    await engine.forceSync(id);
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
    const claim = await engine.claimNext();
    await engine.rename(id, "Newer");
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
      await engine.rename(id, "Newer");
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
