/** retry, discard, adopt and forget in every state that an account can be in: what the call says, and what is sent then. */
import { randomUUID } from "node:crypto";
import type pg from "pg";
import { beforeAll, beforeEach, describe, expect, test } from "vitest";
import { describeChoice, holdsNewerBack, isUndecided } from "../../src/sync/choice.ts";
import { openQueue } from "../support/captured-tables.ts";
import { createEngine, type Engine } from "../support/engine.ts";
import { eventually } from "../support/eventually.ts";
import { createFakeApi, type FakeApi, failed, noAnswer, rejected } from "../support/fake-api.ts";
import { crashBeforeWriteBack, crashDuringSend } from "../support/interruptions.ts";
import { createDatabase, withClient } from "../support/postgres.ts";

let engine: Engine;
let api: FakeApi;

beforeAll(async () => {
  engine = await createEngine();
});

beforeEach(async () => {
  await engine.reset();
  api = createFakeApi();
});

/** What waits for a lock in this database. */
const WAITING =
  "select from pg_locks join pg_stat_activity using (pid) where not granted and datname = current_database()";

/** Its first send was answered like this; without an answer, it was taken. */
async function sent(...answers: Parameters<FakeApi["next"]>): Promise<string> {
  const { id } = await engine.insertAccount({ tiers: 1 });
  api.next(...answers);
  await engine.round(api);
  return id;
}

async function addTier(id: string): Promise<void> {
  await engine.query(
    "insert into m_account_package_tier (account_id, min_value, max_value, amount, start_date, end_date) values ($1, 0, 1, 1, '2026-01-01', '2026-02-01')",
    [id],
  );
}

const STATES = {
  "in no table": async () => randomUUID(),
  "no id at all": async () => "no id at all",
  "not in the queue": async () => {
    const { id } = await engine.insertAccount();
    await engine.query("delete from account_sync.change");
    return id;
  },
  clean: () => sent(),
  due: async () => {
    const { id } = await engine.insertAccount();
    await engine.queue.fold();
    return id;
  },
  running: async () => {
    const { id } = await engine.insertAccount();
    await engine.claimNext();
    return id;
  },
  "running, its worker gone": async () => {
    const { id } = await engine.insertAccount();
    await crashDuringSend(engine, api);
    await engine.rename(id, "Newer");
    await engine.queue.fold();
    await engine.makeDue();
    return id;
  },
  retrying: async () => {
    const id = await sent(
      failed({ delivery: "not_applied", errorClass: "server", httpStatus: 500 }),
    );
    await engine.putOffAll();
    return id;
  },
  "retrying in doubt": async () => {
    const { id } = await engine.insertAccount();
    api.next(noAnswer());
    await engine.round(api, { policy: { unknownOutcome: "lookup" } });
    await engine.putOffAll();
    return id;
  },
  "parked for its data": () => sent(rejected()),
  "parked in doubt": () => sent(noAnswer()),
  "an update in doubt": async () => {
    const id = await sent();
    await addTier(id);
    api.next(noAnswer());
    await engine.round(api);
    await engine.putOffAll();
    return id;
  },
  "answered, not written": async () => {
    const { id } = await engine.insertAccount();
    await crashBeforeWriteBack(engine, api);
    await engine.makeDue();
    return id;
  },
  blocked: async () => {
    const { id: parentId } = await engine.insertAccount();
    await engine.query("delete from account_sync.change");
    const { id } = await engine.insertAccount({ parentId });
    await engine.round(api);
    return id;
  },
  removed: async () => {
    const id = await sent();
    await engine.query("delete from m_account where id::text = $1", [id]);
    await engine.round(api);
    return id;
  },
} as const satisfies Record<string, () => Promise<string>>;

const ACTS = {
  retry: "select account_sync.retry($1) as result",
  discard: "select account_sync.retry($1, discard => true) as result",
  adopt: "select account_sync.adopt($1, 'ext-adopted')::text as result",
  forget: "select account_sync.forget($1) as result",
} as const;

const RUNNING = "is being synced right now";
const UNKNOWN = "There is no account";
const HAS_ONE = "already";
const ADOPTED = "";

/** What the call answers or refuses with, and the sends from then on. */
const TABLE: readonly (readonly [
  keyof typeof STATES,
  keyof typeof ACTS,
  result: boolean | number | string,
  sends: readonly string[],
])[] = [
  ["in no table", "retry", false, []],
  ["in no table", "discard", false, []],
  ["in no table", "adopt", UNKNOWN, []],
  ["in no table", "forget", UNKNOWN, []],
  ["no id at all", "retry", false, []],
  ["no id at all", "discard", false, []],
  ["no id at all", "adopt", UNKNOWN, []],
  ["no id at all", "forget", UNKNOWN, []],

  ["not in the queue", "retry", false, []],
  ["not in the queue", "discard", false, []],
  ["not in the queue", "adopt", ADOPTED, ["update ext-adopted"]],
  ["not in the queue", "forget", 0, []],

  ["clean", "retry", false, []],
  ["clean", "discard", false, []],
  ["clean", "adopt", HAS_ONE, []],
  // Account, branch and tier. It is sent when it changes.
  ["clean", "forget", 3, []],

  ["due", "retry", false, ["create"]],
  ["due", "discard", false, ["create"]],
  ["due", "adopt", ADOPTED, ["update ext-adopted"]],
  ["due", "forget", 0, ["create"]],

  ["running", "retry", false, []],
  ["running", "discard", false, []],
  ["running", "adopt", RUNNING, []],
  ["running", "forget", RUNNING, []],

  // Parked then, as it is in doubt.
  ["running, its worker gone", "retry", false, []],
  ["running, its worker gone", "discard", true, ["create"]],
  ["running, its worker gone", "adopt", ADOPTED, ["update ext-adopted"]],
  ["running, its worker gone", "forget", 0, ["create"]],

  ["retrying", "retry", false, []],
  ["retrying", "discard", true, ["create"]],
  ["retrying", "adopt", ADOPTED, ["update ext-adopted"]],
  ["retrying", "forget", 0, ["create"]],

  ["retrying in doubt", "retry", false, []],
  ["retrying in doubt", "discard", true, ["create"]],
  ["retrying in doubt", "adopt", ADOPTED, ["update ext-adopted"]],
  ["retrying in doubt", "forget", 0, ["create"]],

  ["parked for its data", "retry", true, ["create"]],
  ["parked for its data", "discard", true, ["create"]],
  ["parked for its data", "adopt", ADOPTED, ["update ext-adopted"]],
  ["parked for its data", "forget", 0, ["create"]],

  ["parked in doubt", "retry", true, ["repeat"]],
  ["parked in doubt", "discard", true, ["create"]],
  ["parked in doubt", "adopt", ADOPTED, ["update ext-adopted"]],
  ["parked in doubt", "forget", 0, ["create"]],

  ["an update in doubt", "retry", false, []],
  ["an update in doubt", "discard", true, ["update ext-customer-1"]],
  ["an update in doubt", "adopt", HAS_ONE, []],
  ["an update in doubt", "forget", 3, ["create"]],

  ["answered, not written", "retry", false, []],
  ["answered, not written", "discard", false, []],
  ["answered, not written", "adopt", HAS_ONE, []],
  ["answered, not written", "forget", 0, ["create"]],

  ["blocked", "retry", false, []],
  ["blocked", "discard", false, []],
  ["blocked", "adopt", ADOPTED, []],
  ["blocked", "forget", 0, []],

  ["removed", "retry", false, []],
  ["removed", "discard", false, []],
  ["removed", "adopt", UNKNOWN, []],
  ["removed", "forget", 3, []],
];

test.each(TABLE)("%s, %s: %s, and %j is sent", async (state, act, result, sends) => {
  const id = await STATES[state]();
  const before = api.requests.splice(0);

  const said = await engine
    .query(ACTS[act], [id])
    .then(([row]) => row?.["result"])
    .catch((error: Error & { schema?: string }) => {
      expect(error.schema).toBe("account_sync");
      return error.message;
    });
  await engine.round(api);
  await engine.round(api);

  if (typeof result === "string" && result !== "") expect(said).toContain(result);
  else expect(said).toBe(result);
  const keys = new Set(before.map(({ idempotencyKey }) => idempotencyKey));
  expect(
    api.requests.map(({ operation, externalId, idempotencyKey }) =>
      keys.has(idempotencyKey) ? "repeat" : [operation, externalId].filter(Boolean).join(" "),
    ),
  ).toEqual(sends);
});

test("the table has every act in every state", () => {
  const rows = TABLE.map(([state, act]) => `${state} ${act}`);
  const wanted = Object.keys(STATES).flatMap((state) =>
    Object.keys(ACTS).map((act) => `${state} ${act}`),
  );
  expect(rows.toSorted()).toEqual(wanted.toSorted());
});

describe("what no account can be", () => {
  test.each(["''", "'  '", "null", "repeat('x', 1001)"])("%s as an id is refused", async (id) => {
    for (const call of [
      `retry(${id})`,
      `retry(${id}, discard => true)`,
      `adopt(${id}, 'ext')`,
      `forget(${id})`,
      `request(${id}, replace => true)`,
    ]) {
      await expect(engine.query(`select account_sync.${call}`)).rejects.toMatchObject({
        code: "22023",
        schema: "account_sync",
      });
    }
    expect(await engine.query("select from account_sync.account")).toEqual([]);
    expect(await engine.query("select from account_sync.change")).toEqual([]);
  });

  test("a text that would be SQL is an account that does not exist", async () => {
    for (const id of ["'; drop table m_account; --", "$1", "%s %I", "a'b\\c", "{"]) {
      await expect(engine.query("select account_sync.adopt($1, 'e')", [id])).rejects.toThrow(
        `There is no account ${id}`,
      );
      await expect(
        engine.query("select account_sync.forget($1, tier_id => $1)", [id]),
      ).rejects.toThrow("There is no account");
    }
    const account = await engine.insertAccount();
    await engine.query("select account_sync.forget($1, tier_id => $2, pic_id => $2)", [
      account.id,
      "'; drop table m_account; --",
    ]);
    await engine.query("select account_sync.adopt($1, $2)", [account.id, "e'; --"]);
    expect(await engine.ids(account.id)).toMatchObject({ account: "e'; --" });
  });
});

describe("retry", () => {
  test("takes an id in any form", async () => {
    const id = await sent(rejected());

    expect(
      await engine.query("select account_sync.retry($1) as result", [id.toUpperCase()]),
    ).toEqual([{ result: true }]);
  });

  test("with discard waits until the first one cannot be under way any more, and then sends current data under the next key", async () => {
    const id = await sent(noAnswer());
    const [first] = api.requests;
    await engine.rename(id, "Corrected");
    await engine.queue.fold();
    await engine.query("select account_sync.retry($1, discard => true)", [id]);

    await engine.round(api, { policy: { applyingMaxMs: 60_000 } });
    expect(api.requests).toHaveLength(1);
    await engine.makeDue();
    await engine.round(api);
    await engine.round(api);

    const [, second] = api.requests;
    expect(second?.operation).toBe("create");
    expect(second?.idempotencyKey).not.toBe(first?.idempotencyKey);
    expect(second?.body).toContain("Corrected");
    expect(await engine.row(id)).toMatchObject({ state: "clean" });
  });
});

describe("adopt", () => {
  test("writes the id to the row and the mapping, and gives up nothing else", async () => {
    const id = await sent(noAnswer());

    await engine.query("select account_sync.adopt($1, $2)", [id.toUpperCase(), " ext-there\n"]);

    expect(await engine.ids(id)).toMatchObject({ account: "ext-there" });
    expect(
      await engine.query(
        "select entity, row_id, external_id, config_id from account_sync.id_mapping where account_id = $1",
        [id],
      ),
    ).toEqual([{ entity: "account", row_id: id, external_id: "ext-there", config_id: null }]);
    await engine.round(api);
    expect(await engine.row(id)).toMatchObject({ state: "clean", error: null });
    await engine.query("select account_sync.adopt($1, 'ext-there')", [id]);
  });

  test.each([
    [
      "that stands on another account's row",
      "update m_account set uuid_be = 'taken' where id = $1",
    ],
    [
      "that is mapped to another account",
      "insert into account_sync.mapped_id (account_id, entity, row_id, external_id) values ($1, 'account', $1, 'taken')",
    ],
    [
      "that was answered to another account and is not written yet",
      `insert into account_sync.attempt (account_id, generation, trigger, operation, delivery, idempotency_key, sent, received)
       values ($1, 1, 'change', 'create', 'answered', gen_random_uuid(), '{}', '{"customer": "taken"}')`,
    ],
    [
      "that stands on a row whose mapping has another one",
      `with w as (update m_account set uuid_be = 'taken' where id::text = $1)
       insert into account_sync.mapped_id (account_id, entity, row_id, external_id) values ($1, 'account', $1, 'other')`,
    ],
  ])("refuses an id %s", async (_name, taken) => {
    const id = await sent(noAnswer());
    const other = await engine.insertAccount();
    await engine.query(taken, [other.id]);

    await expect(
      engine.query("select account_sync.adopt($1, 'taken')", [id]),
    ).rejects.toMatchObject({
      code: "23505",
      message: `Account ${other.id} has the external id taken already`,
    });

    expect(await engine.ids(id)).toMatchObject({ account: null });
    expect(await engine.row(id)).toMatchObject({ state: "parked" });
  });

  test.each([
    "update m_account set uuid_be = $2 where id::text = $1",
    "insert into account_sync.mapped_id (account_id, entity, row_id, external_id) values ($1, 'account', $1, $2)",
    `insert into account_sync.attempt (account_id, generation, trigger, operation, delivery, idempotency_key, sent, received)
     values ($1, 1, 'change', 'create', 'answered', gen_random_uuid(), '{}', jsonb_build_object('customer', $2::text))`,
  ])("refuses a GUID that another account has in another letter case: %s", async (taken) => {
    const guid = "aabbccdd-1111-4222-8333-abcdefabcdef";
    const id = await sent(noAnswer());
    const other = await engine.insertAccount();
    await engine.query(taken, [other.id, guid]);

    await expect(
      engine.query("select account_sync.adopt($1, $2)", [id, guid.toUpperCase()]),
    ).rejects.toMatchObject({ code: "23505" });
    if (taken.startsWith("update"))
      await engine.query("select account_sync.adopt($1, $2)", [other.id, guid.toUpperCase()]);
  });

  test("keeps workers away until its transaction ends, also from an account that none had", async () => {
    const { id } = await engine.insertAccount();
    await engine.queue.fold();

    await withClient(engine.database.url, async (person) => {
      await person.query("begin");
      await person.query("select account_sync.adopt($1, 'ext-there')", [id]);
      await engine.round(api);
      expect(api.requests).toEqual([]);
      await person.query("commit");
    });
    await engine.round(api);

    expect(api.requests).toMatchObject([{ operation: "update", externalId: "ext-there" }]);
  });

  test("two accounts that want one id at the same time take turns", async () => {
    const ids = await Promise.all([engine.insertAccount(), engine.insertAccount()]);

    const adopted = await Promise.allSettled(
      ids.map(({ id }) => engine.query("select account_sync.adopt($1, 'ext-one')", [id])),
    );

    expect(adopted.map(({ status }) => status).toSorted()).toEqual(["fulfilled", "rejected"]);
  });

  test("of two configurations that gave out one id, each account has its own customer", async () => {
    const inDoubt = await sent(noAnswer());
    const elsewhere = await engine.insertAccount();
    await engine.query("update m_account set uuid_be = '7' where id::text = $1", [elsewhere.id]);
    await engine.query(
      "insert into account_sync.mapped_id (account_id, entity, row_id, external_id, config_id) values ($1, 'account', $1, '7', 'other')",
      [elsewhere.id],
    );
    const neverSent = await engine.insertAccount();

    await engine.query("select account_sync.adopt($1, '7')", [inDoubt]);
    // Nothing says which API it is of: taken for the same one.
    await expect(
      engine.query("select account_sync.adopt($1, '7')", [neverSent.id]),
    ).rejects.toMatchObject({ code: "23505" });

    expect(await engine.ids(inDoubt)).toMatchObject({ account: "7" });
  });

  test("keeps where the create went, so that the configuration is recognised when it was replaced", async () => {
    const id = await sent(noAnswer());

    await engine.query("select account_sync.adopt($1, 'ext-there')", [id]);

    expect(await engine.query("select api_url from account_sync.mapped_id")).toEqual([
      { api_url: "http://127.0.0.1:1/api/customer/command" },
    ]);
  });

  test("does not wait for an application that has locked the row: the update writes the id", async () => {
    const id = await sent(noAnswer());

    await withClient(engine.database.url, async (application) => {
      await application.query("begin");
      await application.query("select from m_account where id = $1 for update", [id]);
      await engine.query("select account_sync.adopt($1, 'ext-there')", [id]);
      await application.query("rollback");
    });
    await engine.round(api);

    expect(api.requests.at(-1)).toMatchObject({ operation: "update", externalId: "ext-there" });
    expect(await engine.ids(id)).toMatchObject({ account: "ext-there" });
  });

  test("of an account of which nothing tells the API leaves the mapping to the update, which knows it", async () => {
    const { id } = await engine.insertAccount();
    await engine.query("delete from account_sync.change");

    await engine.query("select account_sync.adopt($1, 'ext-there')", [id]);

    expect(await engine.ids(id)).toMatchObject({ account: "ext-there" });
    expect(await engine.query("select from account_sync.mapped_id")).toEqual([]);
    await engine.round(api);
    expect(api.requests).toMatchObject([{ operation: "update", externalId: "ext-there" }]);
    expect(
      await engine.query(
        "select external_id, api_url from account_sync.mapped_id where entity = 'account'",
      ),
    ).toEqual([{ external_id: "ext-there", api_url: "http://127.0.0.1:1/api/customer/command" }]);
  });

  test("of such an account says to try again while the application has locked its row: nothing else would keep the id", async () => {
    const { id } = await engine.insertAccount();

    await withClient(engine.database.url, async (application) => {
      await application.query("begin");
      await application.query("select from m_account where id = $1 for update", [id]);
      await expect(
        engine.query("select account_sync.adopt($1, 'ext-there')", [id]),
      ).rejects.toMatchObject({
        code: "55P03",
        schema: "account_sync",
        hint: "Try again in a moment.",
      });
      await application.query("rollback");
    });
    await engine.round(api);

    expect(api.requests.map(({ operation }) => operation)).toEqual(["create"]);
  });

  test.each(["", "  ", "x".repeat(256)])("refuses %j as an external id", async (external) => {
    const { id } = await engine.insertAccount();

    await expect(
      engine.query("select account_sync.adopt($1, $2)", [id, external]),
    ).rejects.toMatchObject({ code: "22023" });
  });
});

describe("forget", () => {
  test("clears the ids in rows and mapping, and the next sync creates under another key", async () => {
    const id = await sent();
    const [first] = api.requests;

    await engine.query("select account_sync.forget($1)", [id.toUpperCase()]);
    expect(await engine.ids(id)).toMatchObject({ account: null, branch: null, tiers: [null] });
    expect(await engine.query("select from account_sync.mapped_id")).toEqual([]);
    await engine.change(id);
    await engine.round(api);

    expect(api.requests[1]).toMatchObject({ operation: "create", externalId: null });
    expect(api.requests[1]?.idempotencyKey).not.toBe(first?.idempotencyKey);
  });

  test("a create in doubt is given up only when it cannot be under way any more", async () => {
    const id = await sent(noAnswer());
    const policy = { applyingMaxMs: 60_000 };

    await engine.query("select account_sync.forget($1)", [id]);
    await engine.round(api, { policy });

    expect(api.requests).toHaveLength(1);
    expect(await engine.row(id)).toMatchObject({ state: "retrying", creates_ended: 1 });
    await engine.makeDue();
    await engine.round(api);
    await engine.round(api);
    expect(api.requests.map(({ operation }) => operation)).toEqual(["create", "create"]);
    expect(await engine.row(id)).toMatchObject({ state: "clean" });
  });

  test("one tier: the next sync adds it anew, and leaves the rest", async () => {
    const account = await engine.insertAccount({ tiers: 2, pics: 1 });
    await engine.round(api);
    const before = await engine.ids(account.id);

    const [row] = await engine.query("select account_sync.forget($1, tier_id => $2) as forgotten", [
      account.id,
      account.tiers[0]?.toUpperCase(),
    ]);
    await engine.change(account.id);
    await engine.round(api);

    expect(row).toEqual({ forgotten: 1 });
    const after = await engine.ids(account.id);
    expect(after).toMatchObject({ account: before.account, branch: before.branch });
    expect(after.tiers[0]).not.toBe(before.tiers[0]);
    expect(after.tiers[1]).toBe(before.tiers[1]);
    expect(after.pics).toEqual(before.pics);
    expect(api.requests.at(-1)?.operation).toBe("update");
  });

  test("a tier of another account is not touched", async () => {
    const mine = await engine.insertAccount({ tiers: 1, pics: 1 });
    const other = await engine.insertAccount({ tiers: 1, pics: 1 });
    await engine.round(api);
    const before = await engine.ids(other.id);

    const [row] = await engine.query(
      "select account_sync.forget($1, tier_id => $2, pic_id => $3) as forgotten",
      [mine.id, other.tiers[0], other.pics[0]],
    );

    expect(row).toEqual({ forgotten: 0 });
    expect(await engine.ids(other.id)).toEqual(before);
  });

  test("one tier while an update is not finished is refused: it would bring the id back", async () => {
    const id = await sent();
    await addTier(id);
    api.next(noAnswer());
    await engine.round(api);

    await expect(
      engine.query(
        "select account_sync.forget($1, tier_id => (select min(id::text) from m_account_package_tier where account_id::text = $1))",
        [id],
      ),
    ).rejects.toMatchObject({ code: "55000", message: expect.stringContaining("an update") });
  });

  test("waits for no row that the application has locked, and changes nothing then", async () => {
    const account = await engine.insertAccount({ tiers: 1 });
    await engine.round(api);
    const before = await engine.ids(account.id);

    await withClient(engine.database.url, async (application) => {
      await application.query("begin");
      await application.query("select from m_account_package_tier where id = $1 for update", [
        account.tiers[0],
      ]);
      await expect(
        engine.query("select account_sync.forget($1)", [account.id]),
      ).rejects.toMatchObject({ code: "55P03", schema: "account_sync" });
      await application.query("rollback");
    });

    expect(await engine.ids(account.id)).toEqual(before);
    expect(await engine.query("select from account_sync.mapped_id")).toHaveLength(3);
  });

  test("takes turns with the walk that takes over ids, which would map them again", async () => {
    const { id } = await engine.insertAccount();
    await engine.query("update m_account set uuid_be = 'old' where id::text = $1", [id]);

    await withClient(engine.database.url, async (walk) => {
      await walk.query("begin");
      await walk.query("select from account_sync.id_takeover for update");
      const forgetting = engine.query("select account_sync.forget($1) as forgotten", [id]);
      await eventually(async () => expect(await engine.query(WAITING)).not.toEqual([]));
      await walk.query(
        "insert into account_sync.mapped_id (account_id, entity, row_id, external_id) values ($1, 'account', $1, 'old')",
        [id],
      );
      await walk.query("commit");
      expect(await forgetting).toEqual([{ forgotten: 1 }]);
    });

    expect(await engine.query("select from account_sync.mapped_id")).toEqual([]);
  });

  test("what arrived during a lease that ran out is not lost", async () => {
    const { id } = await engine.insertAccount();
    await engine.claimNext();
    await engine.change(id, { lane: "manual", request: { user_id: "siti" } });
    await engine.queue.fold();
    await engine.makeDue();

    await engine.query("select account_sync.forget($1)", [id]);

    expect(await engine.row(id)).toMatchObject({
      state: "due",
      lane: "manual",
      request: { user_id: "siti" },
      next_request: null,
    });
  });

  test("a removed account's customer is not known any more, and not deleted", async () => {
    const id = await sent();
    await engine.query("delete from m_account where id::text = $1", [id]);
    while ((await engine.queue.fold()).changes > 0);

    await engine.query("select account_sync.forget($1)", [id]);
    await engine.round(api, { policy: { onAccountDelete: "delete" } });

    expect(api.requests.map(({ operation }) => operation)).toEqual(["create"]);
  });
});

describe("an account that the queue does not know", () => {
  test.each([
    ["adopt", "select account_sync.adopt($1, 'ext-there')"],
    ["forget", "select account_sync.forget($1)"],
    ["forget of one tier", "select account_sync.forget($1, tier_id => $1)"],
  ])("%s: it is not folded, claimed and created beside that", async (_name, act) => {
    const { id } = await engine.insertAccount();
    await engine.query("delete from account_sync.change");

    await withClient(engine.database.url, async (person) => {
      await person.query("begin");
      await person.query(act, [id]);
      await engine.change(id);
      const folding = engine.queue.fold();
      await eventually(async () => expect(await engine.query(WAITING)).not.toEqual([]));
      expect(await engine.queue.claim(1)).toEqual([]);
      await person.query("commit");
      await folding;
    });
    await engine.round(api);

    expect(api.requests.map(({ operation }) => operation)).toEqual([
      act.includes("adopt") ? "update" : "create",
    ]);
  });
});

describe("the explanation", () => {
  const explained = async (id: string) =>
    (
      await engine.query("select explanation from account_sync.status where account_id = $1", [id])
    )[0]?.["explanation"];

  test.each(["7", "a b; touch x", "it's", "-5", "--all", "a\nb"])(
    "of a create and an update in doubt says what the error says, for account %j too",
    async (id) => {
      for (const [operation, rows] of [
        ["create", "[]"],
        ["update", '[{"id": "t", "externalId": null}]'],
      ] as const) {
        await engine.reset();
        await engine.query(
          `insert into account_sync.attempt (account_id, generation, trigger, operation, delivery, idempotency_key, sent)
           values ($1, 1, 'change', $2, 'unknown', gen_random_uuid(), jsonb_build_object('tiers', $3::jsonb, 'pics', '[]'::jsonb))`,
          [id, operation, rows],
        );
        await engine.query(
          `insert into account_sync.account (account_id, lane, changed_at, last_changed_at, parked_at, error_class)
           values ($1, 'change', now(), now(), now(), 'unknown_outcome')`,
          [id],
        );
        expect(await explained(id)).toBe(
          `Nothing is sent until a person decides. ${describeChoice(id, operation, "parked")}`,
        );

        await engine.set(id, "parked_at = null, due_at = now()");
        expect(await explained(id)).toBe(
          `It is tried again by itself. ${describeChoice(id, operation, "retrying")}`,
        );
      }
    },
  );

  test("holds the same sends for unfinished as the sync does", async () => {
    const rowsIn = (externalId: string | null) => [{ id: "r", externalId }];
    for (const operation of ["create", "update", "delete"] as const)
      for (const delivery of ["sending", "unknown", "not_applied", "answered"] as const)
        for (const externalId of [null, "ext"])
          for (const [tiers, pics] of [
            [[], []],
            [rowsIn("ext-t"), rowsIn("ext-p")],
            [rowsIn(null), []],
            [rowsIn("ext-t"), rowsIn(null)],
          ] as const) {
            await engine.reset();
            const sent = { accountId: "7", externalId, branchExternalId: null, tiers, pics };
            await engine.query(
              `insert into account_sync.attempt (account_id, generation, trigger, operation, delivery, idempotency_key, sent, received)
               values ('7', 1, 'change', $1, $2, gen_random_uuid(), $3, '{}')`,
              [operation, delivery, JSON.stringify(sent)],
            );
            await engine.query(
              `insert into account_sync.account (account_id, lane, changed_at, last_changed_at, due_at, error_class)
               values ('7', 'change', now(), now(), now(), 'server')`,
            );

            const says = await explained("7");
            const send = { operation, delivery, sent };
            const told = [says.includes("is not known"), says.includes("sent again first")];
            expect([send, ...told]).toEqual([
              send,
              isUndecided(send),
              holdsNewerBack(send) && !isUndecided(send),
            ]);
          }
  });

  test("of an update that newer data may overtake asks for no decision", async () => {
    const id = await sent();
    await engine.rename(id, "Newer");
    api.next(noAnswer());
    await engine.round(api);

    expect(await explained(id)).toBe(
      `It is tried again by itself. If that goes on: \`account-sync status ${id}\` shows what came back.`,
    );
  });

  test("repeats an error that names a command, and otherwise names one", async () => {
    const missing = await sent();
    await engine.rename(missing, "Newer");
    api.next(rejected({ httpStatus: 404, message: "answered 404" }));
    await engine.round(api);
    const refused = await sent(rejected());

    expect(await explained(missing)).toContain(`\`account-sync forget ${missing}\``);
    expect(await explained(refused)).toBe(
      `Nothing is sent until its data are corrected, which sends it by itself; or: \`account-sync retry ${refused}\`.`,
    );
  });
});

describe("request with replace", () => {
  test("is one change, so that no sync can come between force and replace", async () => {
    const { id } = await engine.insertAccount();
    await engine.query("delete from account_sync.change");

    await engine.query(
      "select account_sync.request($1, replace => true, user_id => 'ani', config_id => 'c')",
      [id.toUpperCase()],
    );
    await engine.query("select account_sync.request($1, replace => false)", [id]);
    await engine.query("select account_sync.request($1, replace => null)", [id]);

    expect(
      await engine.query(
        "select account_id, c.lane::text, request from account_sync.change c order by changed_at",
      ),
    ).toEqual([
      {
        account_id: id,
        lane: "manual",
        request: { force: true, replace: true, user_id: "ani", config_id: "c" },
      },
      { account_id: id, lane: "manual", request: { force: true } },
      { account_id: id, lane: "manual", request: { force: true } },
    ]);
  });
});

describe.each(["bigint", "text", "uuid"] as const)("keys of type %s", (keyType) => {
  const ID = { bigint: "7", text: "a'b \u0007%s", uuid: "aaaaaaaa-0000-4000-8000-000000000001" }[
    keyType
  ];
  const FORM = { bigint: "007", text: ID, uuid: "{AAAAAAAA-0000-4000-8000-000000000001}" }[keyType];
  const ROW = { bigint: "70", text: "t'1", uuid: "bbbbbbbb-0000-4000-8000-000000000001" }[keyType];
  const OTHER_FORM = { bigint: "0070", text: ROW, uuid: ROW.toUpperCase() }[keyType];

  test("and tables as they were before: each decision finds the account and its rows", async () => {
    const database = await createDatabase({
      keyType,
      withoutNewerColumns: true,
      leaveOut: ["m_account_type", "m_bank"],
      migrated: true,
    });
    await database.query("insert into m_account (id, name) values ($1, 'Toko')", [ID]);
    await database.query(
      "insert into m_account_package_tier (id, account_id, uuid_be, min_value, max_value, amount, start_date, end_date) values ($1, $2, 'ext-t', 0, 1, 1, '2026-01-01', '2026-02-01')",
      [ROW, ID],
    );
    const queue = openQueue(database);
    await queue.fold();

    await database.query("select account_sync.adopt($1, 'ext-1')", [FORM]);
    await queue.fold();
    await database.query(
      "update account_sync.account set parked_at = now(), due_at = null, error_class = 'rejected'",
    );
    expect(await database.query("select account_sync.retry($1) as r", [FORM])).toEqual([
      { r: true },
    ]);
    expect(
      await database.query("select account_sync.forget($1, tier_id => $2) as f", [
        FORM,
        OTHER_FORM,
      ]),
    ).toEqual([{ f: 1 }]);
    expect(await database.query("select account_sync.forget($1) as f", [FORM])).toEqual([{ f: 1 }]);
    await database.query("select account_sync.request($1, replace => true)", [FORM]);

    expect(await database.query("select account_id from account_sync.account")).toEqual([
      { account_id: ID },
    ]);
    expect(await database.query("select account_id from account_sync.change")).toEqual([
      { account_id: ID },
    ]);
    expect(await database.query("select uuid_be from m_account")).toEqual([{ uuid_be: null }]);
  });

  test("are looked up by their index, not by reading the whole table", async () => {
    const database = await createDatabase({ keyType, migrated: true });
    await database.query("insert into m_account (id, name) values ($1, 'Toko')", [ID]);
    await withClient(database.url, async (client) => {
      await client.query("set enable_seqscan = off; set plan_cache_mode = force_custom_plan");
      const before = await scansOf(client);
      await client.query("select account_sync.forget($1)", [ID]);
      const after = await scansOf(client);

      expect(after.indexed).toBeGreaterThan(before.indexed);
      expect(after.sequential).toBe(before.sequential);
    });
  });
});

/** Of m_account, in this session, including what is not reported yet. */
async function scansOf(client: pg.Client): Promise<{ sequential: number; indexed: number }> {
  const { rows } = await client.query(
    `select pg_stat_get_xact_numscans('m_account'::regclass)::int as sequential,
            (select sum(pg_stat_get_xact_numscans(indexrelid))::int from pg_index where indrelid = 'm_account'::regclass) as indexed`,
  );
  return rows[0];
}

describe("a wrong id, which the API answers with 404", () => {
  test("may be replaced by adopt: forgetting it would ask for a create", async () => {
    const { id } = await engine.insertAccount();
    await engine.round(api);
    await engine.query("select account_sync.forget($1)", [id]);
    await engine.query("select account_sync.adopt($1, 'typo')", [id]);
    api.next(rejected({ httpStatus: 404, message: "answered 404: no such customer" }));
    await engine.round(api);

    await engine.query("select account_sync.adopt($1, 'ext-customer-1')", [id]);
    await engine.round(api);

    expect(api.requests.map(({ operation, externalId }) => [operation, externalId])).toEqual([
      ["create", null],
      ["update", "typo"],
      ["update", "ext-customer-1"],
    ]);
    expect((await engine.ids(id)).account).toBe("ext-customer-1");
    expect(await engine.row(id)).toMatchObject({ state: "clean" });
  });

  test("is refused a replacement while the API knows it", async () => {
    const { id } = await engine.insertAccount();
    await engine.round(api);

    await expect(
      engine.query("select account_sync.adopt($1, 'another')", [id]),
    ).rejects.toMatchObject({ code: "55000" });
  });
});

test("forget refuses null for a tier or a contact person: a variable that is empty forgets no whole account", async () => {
  const { id } = await engine.insertAccount({ pics: 1 });
  await engine.round(api);

  await expect(
    engine.query("select account_sync.forget($1, pic_id => null)", [id]),
  ).rejects.toMatchObject({ code: "22023" });

  expect((await engine.ids(id)).account).not.toBeNull();
});
