/** F42: two configurations that have given out the same ids. An account stays with the one that gave it its id. */
import { beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { ApiConnection, CustomerApi } from "../../../src/customer-api/customer-api.ts";
import {
  CONNECTION,
  createEngine,
  type Engine,
  only,
  type SyncTestOptions,
} from "../../support/engine.ts";
import {
  accepted,
  createFakeApi,
  type FakeApi,
  failed,
  noAnswer,
  rejected,
  unclear,
} from "../../support/fake-api.ts";

let engine: Engine;
/** Both give out ext-customer-1 first. */
let apis: Readonly<Record<"default" | "x", FakeApi>>;
let usable: Readonly<Record<string, ApiConnection>>;

beforeAll(async () => {
  engine = await createEngine();
});

beforeEach(async () => {
  await engine.reset();
  apis = { default: createFakeApi(), x: createFakeApi() };
  usable = {
    row: { ...CONNECTION, configId: "row" },
    x: { ...CONNECTION, configId: "x", baseUrl: "http://127.0.0.1:2" },
  };
});

/** By default it is the configuration `row`. */
const two: SyncTestOptions = {
  overrides: {
    connections: {
      of: async (configId) => usable[configId ?? "row"] ?? { error: `no active row ${configId}` },
    },
  },
};

const both: CustomerApi = {
  send: (connection, request) => apiOf(connection).send(connection, request),
  lookUp: (connection, request) => apiOf(connection).lookUp(connection, request),
  startWait() {},
};

function apiOf({ baseUrl }: ApiConnection): FakeApi {
  return baseUrl === "http://127.0.0.1:2" ? apis.x : apis.default;
}

const sentTo = (name: "default" | "x") =>
  apis[name].requests.map(({ operation, externalId }) => [operation, externalId]);

async function syncOnceWithX(): Promise<string> {
  const { id } = await engine.insertAccount();
  await engine.change(id, { lane: "manual", request: { force: true, config_id: "x" } });
  await engine.round(both, two);
  return id;
}

describe("an account that another configuration gave its id", () => {
  test("is not sent to the default one, where its id is another account's", async () => {
    const a = await engine.insertAccount({ name: "A" });
    await engine.round(both, two);
    const b = await syncOnceWithX();

    await engine.rename(b, "B edited");
    await engine.round(both, two);

    expect((await engine.ids(a.id)).account).toBe((await engine.ids(b)).account);
    expect(sentTo("default")).toEqual([["create", null]]);
    expect(sentTo("x")).toEqual([
      ["create", null],
      ["update", "ext-customer-1"],
    ]);
  });

  test("has a request for another one refused in one sentence, and ends clean", async () => {
    const id = await syncOnceWithX();
    await engine.change(id, { lane: "manual", request: { force: true, config_id: "row" } });

    const refused = await only(engine.round(both, two));
    const after = await only(engine.round(both, two));

    expect(refused).toMatchObject({
      name: "retry",
      errorClass: "validation",
      error: expect.stringMatching(
        new RegExp(`Account ${id} belongs to configuration x, .* refused .*account-sync forget`),
      ),
    });
    expect(after).toMatchObject({ name: "unchanged" });
    expect(await engine.row(id)).toMatchObject({ state: "clean", request: null });
    expect([sentTo("default"), sentTo("x")]).toEqual([[], [["create", null]]]);
  });

  test("has a configuration refused that there is not, and ends clean", async () => {
    const id = await syncOnceWithX();
    await engine.change(id, { lane: "manual", request: { config_id: "nope" } });

    const refused = await only(engine.round(both, two));
    await engine.round(both, two);

    expect(refused).toMatchObject({ error: "no active row nope" });
    expect(await engine.row(id)).toMatchObject({ state: "clean" });
  });

  test("keeps a change that was pending beside the refused request: it goes home", async () => {
    const id = await syncOnceWithX();
    await engine.rename(id, "Edited");
    await engine.change(id, { lane: "manual", request: { force: true, config_id: "row" } });

    await engine.round(both, two);
    await engine.round(both, two);

    expect(sentTo("default")).toEqual([]);
    expect(sentTo("x")).toEqual([
      ["create", null],
      ["update", "ext-customer-1"],
    ]);
    expect(await engine.row(id)).toMatchObject({ state: "clean" });
  });

  test("may be asked for by the configuration that it belongs to", async () => {
    const id = await syncOnceWithX();
    await engine.change(id, { lane: "manual", request: { force: true, config_id: "x" } });

    const outcome = await only(engine.round(both, two));

    expect(outcome).toMatchObject({ name: "synced" });
  });

  test("waits while that configuration is gone, and is not parked: no other API is asked", async () => {
    const id = await syncOnceWithX();
    usable = { row: { ...CONNECTION, configId: "row" } };
    await engine.rename(id, "Edited");

    const outcome = await only(engine.round(both, two));

    expect(outcome).toMatchObject({
      name: "retry",
      errorClass: "unauthorized",
      error: expect.stringContaining("has its id from configuration x, which cannot be used"),
    });
    expect(sentTo("default")).toEqual([]);
  });

  test("goes on with a new row in place of the old one, where that points to the same API", async () => {
    const id = await syncOnceWithX();
    usable = { row: { ...CONNECTION, configId: "row", baseUrl: "http://127.0.0.1:2" } };
    await engine.rename(id, "Edited");

    await engine.round(both, two);

    expect(sentTo("x")).toEqual([
      ["create", null],
      ["update", "ext-customer-1"],
    ]);
  });

  test("may be adopted once more after its id was cleared, though another API gave out the same", async () => {
    await engine.insertAccount({ name: "A" });
    await engine.round(both, two);
    const id = await syncOnceWithX();
    await engine.query("update m_account set uuid_be = null where id = $1", [id]);

    await engine.query("select account_sync.adopt($1, 'ext-customer-1')", [id]);

    expect((await engine.ids(id)).account).toBe("ext-customer-1");
  });

  test("is deleted there, too", async () => {
    const deleting = { ...two, policy: { onAccountDelete: "delete" as const } };
    const a = await engine.insertAccount();
    await engine.round(both, deleting);
    const b = await syncOnceWithX();
    await engine.query("delete from m_account where id = $1", [b]);

    await engine.round(both, deleting);

    expect(sentTo("x").at(-1)).toEqual(["delete", "ext-customer-1"]);
    expect((await engine.ids(a.id)).account).toBe("ext-customer-1");
  });

  test("is moved by forgetting its ids first", async () => {
    const id = await syncOnceWithX();
    await engine.query("select account_sync.forget($1)", [id]);
    await engine.change(id, { lane: "manual", request: { force: true, config_id: "row" } });

    await engine.round(both, two);

    expect(sentTo("default")).toEqual([["create", null]]);
  });
});

describe("an account that was asked to go elsewhere and has no id yet", () => {
  const refusal = () => rejected();
  const serverError = () =>
    failed({ errorClass: "server", delivery: "unknown", httpStatus: 500, isAboutSend: true });

  test.each([
    ["was refused", refusal, 1, {}],
    ["was refused while newer data came", refusal, 1, { editsInFlight: true }],
    ["was answered with the same 500 five times, and given up", serverError, 5, { discard: true }],
    ["was left in doubt, and given up", noAnswer, 1, { discard: true }],
  ] as const)("goes there also after it %s", async (_, answer, times, { ...what }) => {
    const { discard = false, editsInFlight = false } = what as Readonly<Record<string, boolean>>;
    const policy = { unknownOutcome: times === 1 ? "park" : "resend" } as const;
    const { id } = await engine.insertAccount();
    await engine.change(id, { lane: "manual", request: { config_id: "x" } });
    const answers = Array.from({ length: times }, () => async () => {
      if (editsInFlight) {
        await engine.rename(id, "In flight");
        await engine.queue.fold();
      }
      return answer();
    });
    apis.x.next(...answers);
    for (let round = 0; round < times; round += 1) await engine.round(both, { ...two, policy });

    await engine.rename(id, "Corrected");
    if (discard) await engine.query("select account_sync.retry($1, discard => true)", [id]);
    await engine.round(both, { ...two, policy });
    await engine.round(both, { ...two, policy });

    expect(sentTo("default")).toEqual([]);
    expect(sentTo("x")).toHaveLength(times + 1);
    expect(await engine.row(id)).toMatchObject({ state: "clean", request: null });
  });

  test("is adopted there, where a lookup could not tell, and overwrites nothing", async () => {
    await engine.insertAccount({ name: "A" });
    await engine.round(both, two);
    const { id } = await engine.insertAccount();
    await engine.change(id, { lane: "manual", request: { config_id: "x" } });
    apis.x.nextLookup(unclear("it lists 3 customers"));
    const lookupFirst = { unknownOutcome: "lookup", lookupFirst: true } as const;
    await engine.round(both, { ...two, policy: lookupFirst });

    await engine.query("select account_sync.adopt($1, 'ext-customer-1')", [id]);
    await engine.round(both, { ...two, policy: lookupFirst });

    expect(sentTo("default")).toEqual([["create", null]]);
    expect(sentTo("x")).toEqual([["update", "ext-customer-1"]]);
  });

  test("goes to the default one, asked for anew, where there is no such configuration", async () => {
    const { id } = await engine.insertAccount();
    await engine.change(id, { lane: "manual", request: { config_id: "none" } });
    await engine.round(both, two);

    await engine.forceSync(id);
    await engine.round(both, two);

    expect(sentTo("default")).toEqual([["create", null]]);
  });
});

test("an id that is not in the mapping yet belongs to the configuration that the account was sent to last", async () => {
  const id = await syncOnceWithX();
  await engine.query("delete from account_sync.mapped_id");
  await engine.rename(id, "Edited");

  await engine.round(both, two);

  expect(sentTo("default")).toEqual([]);
  expect(sentTo("x").at(-1)).toEqual(["update", "ext-customer-1"]);
  expect(await engine.query("select distinct config_id from account_sync.id_mapping")).toEqual([
    { config_id: "x" },
  ]);
});

test("the default may change: accounts stay where they are, new ones go to the new default", async () => {
  const old = await engine.insertAccount();
  await engine.round(both, two);
  const changed: SyncTestOptions = {
    overrides: { connections: { of: async (id) => usable[id ?? "x"] ?? { error: "none" } } },
  };
  await engine.rename(old.id, "Edited");
  await engine.insertAccount();

  await engine.round(both, changed);

  expect(sentTo("default")).toEqual([
    ["create", null],
    ["update", "ext-customer-1"],
  ]);
  expect(sentTo("x")).toEqual([["create", null]]);
});

test("an account of the environment's API does not go to a row that is the default once the environment names none", async () => {
  const { id } = await engine.insertAccount();
  await engine.round(both, { overrides: { connections: { of: async () => CONNECTION } } });
  await engine.rename(id, "Edited");
  const elsewhere: SyncTestOptions = {
    overrides: { connections: { of: async () => usable["x"] ?? { error: "none" } } },
  };

  const outcome = await only(engine.round(both, elsewhere));

  expect(outcome).toMatchObject({
    name: "retry",
    error: expect.stringMatching(/CUSTOMER_API_URL as it was .* configuration x, .* elsewhere/),
  });
  expect(sentTo("x")).toEqual([]);

  await engine.makeDue();
  await engine.round(both, two);
  expect(sentTo("default")).toEqual([
    ["create", null],
    ["update", "ext-customer-1"],
  ]);
});

test("a create in doubt is repeated where it was sent, also when the default has changed", async () => {
  const resend = { ...two, policy: { unknownOutcome: "resend" as const } };
  const { id } = await engine.insertAccount();
  apis.default.next(noAnswer());
  await engine.round(both, resend);
  const changed = {
    ...resend,
    overrides: {
      connections: {
        of: async (asked: string | null) => usable[asked ?? "x"] ?? { error: "none" },
      },
    },
  };

  await engine.round(both, changed);

  expect(sentTo("default")).toEqual([
    ["create", null],
    ["create", null],
  ]);
  expect(await engine.ids(id)).toMatchObject({ account: "ext-customer-1" });
});

test("two accounts that are answered with one id by two APIs at the same time both have it", async () => {
  const a = await engine.insertAccount();
  const b = await engine.insertAccount();
  await engine.change(b.id, { lane: "manual", request: { force: true, config_id: "x" } });

  const outcomes = await engine.round(both, two);

  expect([outcomes[a.id]?.name, outcomes[b.id]?.name]).toEqual(["synced", "synced"]);
  expect((await engine.ids(a.id)).account).toBe((await engine.ids(b.id)).account);
});

test("a child is not sent to an API that does not know its parent's id", async () => {
  const parent = await syncOnceWithX();
  await engine.insertAccount({ parentId: parent });

  const outcome = await only(engine.round(both, two));

  expect(outcome).toMatchObject({
    name: "parked",
    errorClass: "validation",
    error: expect.stringContaining("has its id from configuration x"),
  });
  expect(sentTo("default")).toEqual([]);
});

test("a contact person that is moved to an account of another API does not take its id along", async () => {
  const { id: from, pics } = await engine.insertAccount({ pics: 1 });
  await engine.round(both, two);
  const to = await syncOnceWithX();
  await engine.query("update m_account_pic set account_id = $1 where id = $2", [to, pics[0]]);
  await engine.rename(from, "Left");

  const outcomes = await engine.round(both, two);
  await engine.query("select account_sync.forget($1, pic_id => $2)", [to, pics[0]]);
  await engine.round(both, two);

  expect(outcomes[to]).toMatchObject({
    name: "parked",
    errorClass: "validation",
    error: expect.stringContaining(`account-sync forget ${to} --pic ${pics[0]}`),
  });
  const [crew] = JSON.parse(apis.x.requests.at(-1)?.body ?? "{}")["customer-crew"];
  expect(crew.name).toBe("Budi Uji 1");
  expect(crew.id).toBeUndefined();
  expect(await engine.row(to)).toMatchObject({ state: "clean" });
});

test("an account that was never sent and asks for a configuration that there is not is parked, and not sent elsewhere", async () => {
  const { id } = await engine.insertAccount();
  await engine.change(id, { lane: "manual", request: { config_id: "nope" } });

  const outcome = await only(engine.round(both, two));

  expect(outcome).toMatchObject({ name: "parked", errorClass: "validation" });
  expect([sentTo("default"), sentTo("x")]).toEqual([[], []]);
});

test("the same id at two APIs belongs to two accounts: one of them may adopt it", async () => {
  await engine.insertAccount();
  await engine.round(both, two);
  const { id } = await engine.insertAccount();
  await engine.change(id, { lane: "manual", request: { config_id: "x" } });
  apis.x.next(noAnswer());
  await engine.round(both, two);

  await engine.query("select account_sync.adopt($1, 'ext-customer-1')", [id]);
  apis.x.next(accepted({ customer: "ext-customer-1" }));
  await engine.round(both, two);

  expect(sentTo("x").at(-1)).toEqual(["update", "ext-customer-1"]);
});
