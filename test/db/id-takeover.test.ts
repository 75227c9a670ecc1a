/** The ids that stand in the tables when the mapping is introduced are taken over as they are, in chunks, without a send. */
import { beforeAll, beforeEach, expect, test } from "vitest";
import { type Takeover, takeOverIds, takeOverLater } from "../../src/sync/take-over-ids.ts";
import { createEngine, type Engine } from "../support/engine.ts";
import { createFakeApi } from "../support/fake-api.ts";
import { withClient } from "../support/postgres.ts";

let engine: Engine;

beforeAll(async () => {
  engine = await createEngine();
});

beforeEach(async () => {
  await engine.reset();
  await engine.query("update account_sync.id_takeover set watermark = '', finished_at = null");
});

const HOME = { configId: "row", apiUrl: "https://api.example/api/customer/command" };

test("all of them, of accounts, branches, tiers and PICs, and nothing is sent", async () => {
  const account = await engine.insertAccount({ tiers: 1, pics: 1 });
  const { id } = account;
  await engine.query("update m_account set uuid_be = 'c', branch_uuid_be = 'b'");
  await engine.query("update m_account_package_tier set uuid_be = 't'");
  await engine.query("update m_account_pic set uuid_be = ' '");
  await engine.query("delete from account_sync.change");

  const takeover = await takeOverIds(engine.db, HOME);

  expect(takeover).toBe("done");
  expect(
    await engine.query(
      "select entity, row_id, external_id, config_id, api_url from account_sync.mapped_id order by entity",
    ),
  ).toEqual([
    { entity: "account", row_id: id, external_id: "c", config_id: "row", api_url: HOME.apiUrl },
    { entity: "branch", row_id: id, external_id: "b", config_id: "row", api_url: null },
    { entity: "tier", row_id: account.tiers[0], external_id: "t", config_id: "row", api_url: null },
  ]);
  expect(await engine.query("select from account_sync.change")).toEqual([]);
});

test("an account that was sent to another configuration belongs to that one", async () => {
  const { id } = await engine.insertAccount();
  await engine.change(id, { lane: "manual", request: { force: true } });
  await engine.round(createFakeApi());
  await engine.query("update account_sync.attempt set config_id = 'x'");
  await engine.query("delete from account_sync.mapped_id");

  await takeOverIds(engine.db, HOME);

  expect(
    await engine.query(
      "select distinct config_id, api_url from account_sync.mapped_id where entity = 'account'",
    ),
  ).toEqual([{ config_id: "x", api_url: null }]);
});

test("in chunks, each account once, also by two replicas at a time", async () => {
  await engine.query(
    "insert into m_account (id, name, uuid_be) select gen_random_uuid(), 'Toko', 'ext-' || n from generate_series(1, 25000) n",
  );

  const steps: Takeover[] = [];
  const replica = async () => {
    for (let takeover: Takeover = "more"; takeover === "more"; ) {
      takeover = await takeOverIds(engine.db, HOME);
      steps.push(takeover);
    }
  };
  await Promise.all([replica(), replica()]);
  await replica();

  const [count] = await engine.query(
    "select count(*)::int as ids, count(distinct external_id)::int as accounts from account_sync.mapped_id",
  );
  expect(count).toEqual({ ids: 25_000, accounts: 25_000 });
  expect(steps.filter((takeover) => takeover === "more")).toHaveLength(2);
  const [takeover] = await engine.query("select finished_at from account_sync.id_takeover");
  expect(takeover?.["finished_at"]).toEqual(expect.any(Date));
});

test("what a sync has mapped meanwhile stays", async () => {
  const { id } = await engine.insertAccount();
  await engine.round(createFakeApi());
  await engine.query("update m_account set uuid_be = 'by hand' where id = $1", [id]);

  await takeOverIds(engine.db, HOME);

  const [row] = await engine.query(
    "select external_id from account_sync.mapped_id where account_id = $1 and entity = 'account'",
    [id],
  );
  expect(row).toEqual({ external_id: "ext-customer-1" });
});

test("is told of another replica that is at it, which may die before it is done", async () => {
  await engine.insertAccount();
  await withClient(engine.database.url, async (other) => {
    await other.query("begin");
    await other.query("select from account_sync.id_takeover for update");
    expect(await takeOverIds(engine.db, HOME)).toBe("elsewhere");
    await other.query("rollback");
  });

  expect(await takeOverIds(engine.db, HOME)).toBe("done");
  expect(await takeOverIds(engine.db, HOME)).toBe("done");
});

test("an id that comes into a row later is mapped, too, but not one that another row has", async () => {
  const first = await engine.insertAccount();
  const copy = await engine.insertAccount();
  await engine.query("update m_account set uuid_be = 'c', branch_uuid_be = null where id = $1", [
    first.id,
  ]);

  await takeOverLater(engine.db, [first.id], HOME);
  await engine.query("update m_account set uuid_be = 'C' where id = $1", [copy.id]);
  await takeOverLater(engine.db, [copy.id], HOME);
  await engine.query("update m_account set uuid_be = 'c' where id = $1", [copy.id]);
  await engine.query("delete from account_sync.mapped_id where account_id = $1", [copy.id]);
  await takeOverLater(engine.db, [copy.id], HOME);

  expect(await engine.query("select account_id, external_id from account_sync.mapped_id")).toEqual([
    { account_id: first.id, external_id: "c" },
  ]);
});
