/** F41: ids that the application loses come back from our own side, and no second customer, tier or contact person is made. */
import fc from "fast-check";
import { beforeAll, beforeEach, describe, expect, test } from "vitest";
import { createEngine, type Engine, only } from "../../support/engine.ts";
import {
  accepted,
  createFakeApi,
  type FakeApi,
  noAnswer,
  rejected,
} from "../../support/fake-api.ts";
import { crashBeforeWriteBack } from "../../support/interruptions.ts";

let engine: Engine;
let api: FakeApi;

beforeAll(async () => {
  engine = await createEngine();
});

beforeEach(async () => {
  await engine.reset();
  api = createFakeApi();
});

/** A whole row saved as it was loaded before the write-back. */
const saveAsLoadedBefore = (id: string, name: string) =>
  engine.query("update m_account set name = $2, uuid_be = null where id = $1", [id, name]);

/** An import: all of it deleted and inserted with the same ids, in one transaction. */
const importAgain = (id: string) =>
  engine.query(
    `do $$
     begin
       create temporary table kept_account on commit drop as select * from m_account where id = '${id}';
       create temporary table kept_tier on commit drop as select * from m_account_package_tier where account_id = '${id}';
       create temporary table kept_pic on commit drop as select * from m_account_pic where account_id = '${id}';
       delete from m_account_pic where account_id = '${id}';
       delete from m_account where id = '${id}';
       update kept_account set uuid_be = null, branch_uuid_be = null, name = name || '!';
       update kept_tier set uuid_be = null;
       update kept_pic set uuid_be = null;
       insert into m_account select * from kept_account;
       insert into m_account_package_tier select * from kept_tier;
       insert into m_account_pic select * from kept_pic;
     end $$`,
  );

const operations = () => api.requests.map(({ operation }) => operation);

describe("ids that the application puts null over", () => {
  test("a whole row saved as loaded before the write-back: the id is back, and the send is an update", async () => {
    const { id } = await engine.insertAccount({ tiers: 1, pics: 1 });
    await engine.round(api);
    const before = await engine.ids(id);
    const mended: unknown[] = [];
    await saveAsLoadedBefore(id, "Newer");

    const outcome = await only(
      engine.round(api, { observe: { idsMended: (told) => void mended.push(told) } }),
    );

    expect(operations()).toEqual(["create", "update"]);
    expect(api.requests[1]).toMatchObject({ externalId: before.account });
    expect(await engine.ids(id)).toMatchObject({ ...before, updatedBy: "account-sync" });
    expect(outcome).toMatchObject({
      name: "synced",
      error: `ids were missing in the database and are put back: account ${id}`,
    });
    expect(mended).toEqual([{ accountId: id, restored: 1, followed: 0 }]);
  });

  test("an import that deletes and inserts the account in one transaction: all ids are back", async () => {
    const { id } = await engine.insertAccount({ tiers: 2, pics: 2 });
    await engine.round(api);
    const before = await engine.ids(id);

    await importAgain(id);
    await engine.round(api);

    expect(operations()).toEqual(["create", "update"]);
    const body = JSON.parse(api.requests[1]?.body ?? "{}");
    expect(body.tier.map(({ id }: { id: string }) => id)).toEqual(before.tiers);
    expect(body["customer-crew"].map(({ id }: { id: string }) => id)).toEqual(before.pics);
    expect(await engine.ids(id)).toEqual(before);
    expect(await engine.row(id)).toMatchObject({ state: "clean" });
  });

  test.each(["m_account", "m_account_package_tier", "m_account_pic"])(
    "one table restored, %s: a sync that was asked for puts its ids back",
    async (table) => {
      const { id } = await engine.insertAccount({ tiers: 2, pics: 2 });
      await engine.round(api);
      const before = await engine.ids(id);
      await engine.query(`update ${table} set uuid_be = null`);

      await engine.query("select account_sync.request($1::text, force => false)", [id]);
      await engine.round(api);

      expect(operations()).toEqual(["create", "update"]);
      expect(await engine.ids(id)).toEqual(before);
    },
  );

  test("a blank over the id is none", async () => {
    const { id } = await engine.insertAccount();
    await engine.round(api);
    const before = await engine.ids(id);
    await engine.query("update m_account set uuid_be = ' ', name = 'Newer' where id = $1", [id]);

    await engine.round(api);

    expect(operations()).toEqual(["create", "update"]);
    expect(await engine.ids(id)).toEqual(before);
  });

  test("while the create is under way: its id is written all the same", async () => {
    const { id } = await engine.insertAccount();
    api.next(async () => {
      await saveAsLoadedBefore(id, "Newer");
      return accepted({ customer: "ext-1" });
    });

    await engine.round(api);
    await engine.round(api);

    expect(operations()).toEqual(["create", "update"]);
    expect(await engine.ids(id)).toMatchObject({ account: "ext-1" });
  });

  test("while an update is under way: the id that it confirms is put back", async () => {
    const { id } = await engine.insertAccount();
    await engine.round(api);
    const { account } = await engine.ids(id);
    await engine.rename(id, "Newer");
    api.next(async () => {
      await engine.query("update m_account set uuid_be = null where id = $1", [id]);
      return accepted({ customer: account });
    });

    const outcome = await only(engine.round(api));

    expect(outcome).toMatchObject({ name: "synced" });
    expect(await engine.ids(id)).toMatchObject({ account });
  });

  test("by the import while the create is under way: the account is there again, and has the id", async () => {
    const { id } = await engine.insertAccount({ tiers: 1 });
    api.next(async () => {
      await importAgain(id);
      return accepted({ customer: "ext-1", tiers: ["t-1"] });
    });

    await engine.round(api);
    await engine.round(api);

    expect(operations()).toEqual(["create", "update"]);
    expect(await engine.ids(id)).toMatchObject({ account: "ext-1", tiers: ["t-1"] });
  });

  test("a removed account that is inserted again later keeps its customer", async () => {
    const { id } = await engine.insertAccount();
    await engine.round(api);
    await engine.query("delete from m_account where id = $1", [id]);
    await engine.round(api);
    await engine.query("insert into m_account (id, account_no, name) values ($1, 'A-1', 'Again')", [
      id,
    ]);

    await engine.round(api);

    expect(operations()).toEqual(["create", "update"]);
  });

  test("an id that came while its row was gone is known when the row is back", async () => {
    const { id } = await engine.insertAccount();
    api.next(async () => {
      await engine.query("delete from m_account where id = $1", [id]);
      return accepted({ customer: "ext-1" });
    });
    await engine.round(api);
    await engine.query("insert into m_account (id, account_no, name) values ($1, 'A-1', 'Again')", [
      id,
    ]);

    await engine.round(api);

    expect(api.requests.at(-1)).toMatchObject({ operation: "update", externalId: "ext-1" });
  });

  test("a child whose parent has lost its id is sent with it", async () => {
    const parent = await engine.insertAccount();
    await engine.round(api);
    const { account } = await engine.ids(parent.id);
    await engine.query("update m_account set uuid_be = null where id = $1", [parent.id]);
    await engine.insertAccount({ parentId: parent.id });

    await engine.round(api);

    expect(JSON.parse(api.requests.at(-1)?.body ?? "{}").customer.parent_id).toBe(account);
  });
});

describe("an id that stands otherwise than it is mapped", () => {
  test("wins; the mapping follows when the API has taken it, and it is told", async () => {
    const { id } = await engine.insertAccount();
    await engine.round(api);
    const mended: unknown[] = [];
    await engine.query("update m_account set uuid_be = 'by hand', name = 'Newer' where id = $1", [
      id,
    ]);

    const outcome = await only(
      engine.round(api, { observe: { idsMended: (told) => void mended.push(told) } }),
    );

    expect(api.requests[1]).toMatchObject({ operation: "update", externalId: "by hand" });
    expect(outcome?.error).toContain(`rows have other ids than were known, which are used now`);
    expect(mended).toEqual([{ accountId: id, restored: 0, followed: 1 }]);
    expect(await mapped(id)).toContainEqual(["account", "by hand"]);
  });

  test("does not change the mapping when the API refuses it", async () => {
    const { id } = await engine.insertAccount();
    await engine.round(api);
    const before = await mapped(id);
    await engine.query("update m_account set uuid_be = 'wrong', name = 'Newer' where id = $1", [
      id,
    ]);
    api.next(rejected({ httpStatus: 404, message: "answered 404: no such customer" }));

    const outcome = await only(engine.round(api));

    expect(outcome).toMatchObject({
      name: "parked",
      errorClass: "rejected",
      error: expect.stringContaining(`account-sync forget ${id}`),
    });
    expect(await mapped(id)).toEqual(before);
  });

  test("and is another account's is not sent: it would overwrite that customer; cleared, the account is created", async () => {
    const first = await engine.insertAccount({ name: "First" });
    await engine.round(api);
    const { account } = await engine.ids(first.id);
    const copy = await engine.insertAccount({ name: "Copy" });
    await engine.query("update m_account set uuid_be = $1 where id = $2", [account, copy.id]);

    const outcome = await only(engine.round(api));
    await engine.query("update m_account set uuid_be = null where id = $1", [copy.id]);
    await engine.queue.retry({ ids: [copy.id], errorClass: null });
    await engine.round(api);

    expect(outcome).toMatchObject({
      name: "parked",
      errorClass: "validation",
      error: expect.stringContaining(`which is the id of account ${first.id}`),
    });
    expect(operations()).toEqual(["create", "create"]);
  });

  test.each(["m_account_package_tier", "m_account_pic"])(
    "and is the id of another row of %s, as rows were copied with it, is not sent either",
    async (table) => {
      const first = await engine.insertAccount({ tiers: 1, pics: 1 });
      const second = await engine.insertAccount({ tiers: 1, pics: 1 });
      await engine.round(api);
      const requests = api.requests.length;
      await engine.query(
        `update ${table} set uuid_be = (select uuid_be from ${table} where account_id = $1) where account_id = $2`,
        [first.id, second.id],
      );
      await engine.rename(second.id, "Newer");

      const outcome = await only(engine.round(api));

      expect(outcome).toMatchObject({ name: "parked", errorClass: "validation" });
      expect(api.requests).toHaveLength(requests);
    },
  );

  test("and was the id of a row that is gone is taken over: an import gave the rows new keys", async () => {
    const { id, pics } = await engine.insertAccount({ pics: 1 });
    await engine.round(api);
    const before = await engine.ids(id);
    await engine.query(
      "with gone as (delete from m_account_pic where id = $1 returning *) insert into m_account_pic (account_id, name, phone_no, email, username, uuid_be) select account_id, name, phone_no, email, username, uuid_be from gone",
      [pics[0]],
    );

    const outcome = await only(engine.round(api));

    expect(outcome).toMatchObject({ name: expect.stringMatching(/synced|unchanged/) });
    expect((await engine.ids(id)).pics).toEqual(before.pics);
  });

  test("moves with it where the other row has another one by now", async () => {
    const first = await engine.insertAccount({ name: "First" });
    const second = await engine.insertAccount({ name: "Second" });
    await engine.round(api);
    const [one, two] = [await engine.ids(first.id), await engine.ids(second.id)];
    await engine.query(
      "update m_account set uuid_be = case id when $1 then $4 else $3 end, name = name || '!' where id in ($1, $2)",
      [first.id, second.id, one.account, two.account],
    );

    await engine.round(api);

    expect(await engine.ids(first.id)).toMatchObject({ account: two.account });
    expect(await engine.ids(second.id)).toMatchObject({ account: one.account });
  });

  test("is mapped without a request of its own, with the next update", async () => {
    const { id } = await engine.insertAccount({ tiers: 1 });
    await engine.query("update m_account set uuid_be = 'earlier' where id = $1", [id]);
    await engine.query("update m_account_package_tier set uuid_be = 'earlier tier'");

    await engine.round(api);

    expect(operations()).toEqual(["update"]);
    expect(await mapped(id)).toEqual(
      expect.arrayContaining([
        ["account", "earlier"],
        ["tier", "earlier tier"],
      ]),
    );
  });
});

test("a contact person that the API has dropped with its row is added anew, also under its old key", async () => {
  const { id, pics } = await engine.insertAccount({ pics: 1 });
  await engine.round(api);
  const before = await engine.ids(id);
  await engine.query("delete from m_account_pic where id = $1", [pics[0]]);
  await engine.round(api);

  await engine.query(
    "insert into m_account_pic (id, account_id, name, phone_no, email, username) values ($1, $2, 'Budi Uji 1', '08120000001', '', 'budi1')",
    [pics[0], id],
  );
  await engine.round(api);

  const [crew] = JSON.parse(api.requests.at(-1)?.body ?? "{}")["customer-crew"];
  expect(crew.id).toBeUndefined();
  expect((await engine.ids(id)).pics).not.toEqual(before.pics);
  expect(await engine.row(id)).toMatchObject({ state: "clean" });
});

describe("an API that answers a create with the id of another account", () => {
  test("gets nothing written, and the account is parked: two accounts would be one customer", async () => {
    const first = await engine.insertAccount({ name: "First" });
    await engine.round(api);
    const { account } = await engine.ids(first.id);
    const second = await engine.insertAccount({ name: "Second", tiers: 1 });
    api.next(accepted({ customer: account, tiers: ["t-1"] }));

    const outcome = await only(engine.round(api));

    expect(outcome).toMatchObject({
      name: "parked",
      errorClass: "id_conflict",
      error: expect.stringContaining(`which is the id of account ${first.id}`),
    });
    expect(await engine.ids(second.id)).toMatchObject({ account: null, tiers: [null] });
    expect(await mapped(second.id)).toEqual([]);
  });

  test("also where both are answered at the same time: one of them has it", async () => {
    const ids = [(await engine.insertAccount()).id, (await engine.insertAccount()).id];
    api.next(accepted({ customer: "ext-one" }), accepted({ customer: "ext-one" }));

    const outcomes = Object.values(await engine.round(api)).map((outcome) => outcome?.name);

    expect(outcomes.toSorted()).toEqual(["parked", "synced"]);
    const owners = await Promise.all(ids.map(async (id) => (await engine.ids(id)).account));
    expect(owners.toSorted()).toEqual(["ext-one", null]);
  });
});

test("an id that came while another one was written to the row is known when that is gone", async () => {
  const { id } = await engine.insertAccount();
  api.next(async () => {
    await engine.query("update m_account set uuid_be = 'by hand' where id = $1", [id]);
    return accepted({ customer: "ext-1" });
  });
  await engine.round(api);
  await engine.query("update m_account set uuid_be = null, name = 'Newer' where id = $1", [id]);

  await engine.round(api);

  expect(api.requests.at(-1)).toMatchObject({ operation: "update", externalId: "ext-1" });
});

test("an update of a customer writes nothing into the mapping", async () => {
  const { id } = await engine.insertAccount({ tiers: 1, pics: 1 });
  await engine.round(api);
  const before = await engine.query("select xmin::text, ctid::text from account_sync.mapped_id");
  await engine.rename(id, "Newer");

  await engine.round(api);

  expect(before).toHaveLength(4);
  expect(await engine.query("select xmin::text, ctid::text from account_sync.mapped_id")).toEqual(
    before,
  );
});

test("the ids are mapped in the transaction that writes them back", async () => {
  const { id } = await engine.insertAccount();
  await crashBeforeWriteBack(engine, api);

  expect(await mapped(id)).toEqual([]);
  await engine.makeDue();
  await engine.round(api);

  expect((await mapped(id)).map(([entity]) => entity)).toEqual(["account", "branch"]);
});

describe("a customer that is forgotten", () => {
  test("is created anew by the next sync, under another key; nothing else makes a second one", async () => {
    const { id } = await engine.insertAccount({ tiers: 1, pics: 1 });
    await engine.round(api);

    const [forgotten] = await engine.query("select account_sync.forget($1) as count", [id]);
    await engine.forceSync(id);
    await engine.round(api);

    expect(forgotten).toEqual({ count: 4 });
    expect(operations()).toEqual(["create", "create"]);
    expect(api.requests[1]?.idempotencyKey).not.toBe(api.requests[0]?.idempotencyKey);
    const { account } = await engine.ids(id);
    expect(account).not.toBe("ext-customer-1");
    expect(await mapped(id)).toContainEqual(["account", account]);
  });

  test("at the API, where accounts are deleted with their customers: inserted again, it is created anew", async () => {
    const deleting = { policy: { onAccountDelete: "delete" as const } };
    const { id } = await engine.insertAccount();
    await engine.round(api, deleting);
    await engine.query("delete from m_account where id = $1", [id]);
    await engine.round(api, deleting);
    await engine.query("insert into m_account (id, account_no, name) values ($1, 'A-1', 'Again')", [
      id,
    ]);

    await engine.round(api, deleting);

    expect(operations()).toEqual(["create", "delete", "create"]);
    expect(api.requests[2]?.idempotencyKey).not.toBe(api.requests[0]?.idempotencyKey);
  });
});

test("F47: an account deleted while its create is under way takes its customer along", async () => {
  const deleting = { policy: { onAccountDelete: "delete" as const } };
  const { id } = await engine.insertAccount();
  api.next(async () => {
    await engine.query("delete from m_account where id = $1", [id]);
    return accepted({ customer: "ext-orphan" });
  });

  await engine.round(api, deleting);
  const outcome = await only(engine.round(api, deleting));

  expect(outcome).toMatchObject({ name: "gone", operation: "delete" });
  expect(api.requests[1]).toMatchObject({ operation: "delete", externalId: "ext-orphan" });
  expect(await mapped(id)).toEqual([]);
});

test("F48: a create whose journal is lost with the last second goes out under the same key", async () => {
  const { id } = await engine.insertAccount();
  api.next(noAnswer());
  await engine.round(api);

  // What a failover loses: everything since the account was captured.
  await engine.query("truncate account_sync.account, account_sync.attempt, account_sync.mapped_id");
  await engine.change(id);
  await engine.round(api);

  expect(operations()).toEqual(["create", "create"]);
  expect(api.requests[1]?.idempotencyKey).toBe(api.requests[0]?.idempotencyKey);
});

test("a create in doubt whose account was removed and is there again: the API may answer with the first data, so an update follows", async () => {
  const resend = { policy: { unknownOutcome: "resend" as const } };
  const { id } = await engine.insertAccount({ name: "First" });
  api.next(noAnswer());
  await engine.round(api, resend);
  await engine.query("delete from m_account where id = $1", [id]);
  await engine.round(api, resend);
  await engine.query("insert into m_account (id, account_no, name) values ($1, 'A-1', 'Second')", [
    id,
  ]);

  await engine.round(api, resend);
  await engine.makeDue();
  await engine.round(api, resend);

  expect(operations()).toEqual(["create", "create", "update"]);
  expect(api.requests[1]?.idempotencyKey).toBe(api.requests[0]?.idempotencyKey);
  expect(await engine.row(id)).toMatchObject({ state: "clean" });
});

test("a create that was refused is another create after the correction", async () => {
  const { id } = await engine.insertAccount();
  api.next(rejected());
  await engine.round(api);
  await engine.rename(id, "Corrected");

  await engine.round(api);

  expect(operations()).toEqual(["create", "create"]);
  expect(api.requests[1]?.idempotencyKey).not.toBe(api.requests[0]?.idempotencyKey);
});

test("whatever an application does to the ids, each row keeps its one item at the API", async () => {
  const act = fc.constantFrom(
    "save",
    "import",
    "no account id",
    "no tier ids",
    "no pic ids",
    "sync",
  );
  await fc.assert(
    fc.asyncProperty(fc.array(act, { minLength: 1, maxLength: 6 }), async (acts) => {
      await engine.reset();
      api = createFakeApi();
      const { id } = await engine.insertAccount({ tiers: 2, pics: 2 });
      await engine.round(api);
      const before = await engine.ids(id);

      for (const [index, what] of acts.entries()) {
        if (what === "save") await saveAsLoadedBefore(id, `Name ${index}`);
        else if (what === "import") await importAgain(id);
        else if (what === "no account id")
          await engine.query("update m_account set uuid_be = null");
        else if (what === "no tier ids")
          await engine.query("update m_account_package_tier set uuid_be = null");
        else if (what === "no pic ids")
          await engine.query("update m_account_pic set uuid_be = null");
        else await engine.round(api);
      }
      await engine.forceSync(id);
      await engine.round(api);

      expect(operations().filter((operation) => operation === "create")).toHaveLength(1);
      const { updatedBy, ...ids } = await engine.ids(id);
      expect(ids).toEqual({ ...before, updatedBy: undefined });
    }),
    { numRuns: 25 },
  );
});

async function mapped(accountId: string): Promise<[string, string][]> {
  const rows = await engine.query<{ entity: string; external_id: string }>(
    "select entity, external_id from account_sync.id_mapping where account_id = $1 order by entity",
    [accountId],
  );
  return rows.map(({ entity, external_id }) => [entity, external_id]);
}
