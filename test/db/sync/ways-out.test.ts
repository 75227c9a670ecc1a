/** F43 and its kind: an unfinished send always comes to an end, and corrected data can always go out. */
import fc from "fast-check";
import { beforeAll, beforeEach, describe, expect, test } from "vitest";
import { callOn } from "../../../src/call-on.ts";
import { createEngine, type Engine, only, type SyncTestOptions } from "../../support/engine.ts";
import {
  createFakeApi,
  type FakeApi,
  failed,
  foundThere,
  nameIn,
  noAnswer,
  rejected,
  unclear,
} from "../../support/fake-api.ts";

let engine: Engine;
let api: FakeApi;

beforeAll(async () => {
  engine = await createEngine();
});

beforeEach(async () => {
  await engine.reset();
  api = createFakeApi();
});

/** A 5xx of the API itself, about this send. */
const serverError = () =>
  failed({
    errorClass: "server",
    delivery: "unknown",
    httpStatus: 500,
    message: "answered 500",
    isAboutSend: true,
  });

const retry = (id: string, discard = false) =>
  engine.query("select account_sync.retry($1, discard => $2)", [id, discard]);

describe("a create that the API answers with 500 because of its data", () => {
  test.each(["park", "resend", "lookup"] as const)(
    "under %s: given up after the correction, current data go out under another key",
    async (unknownOutcome) => {
      const options = { policy: { unknownOutcome } };
      const { id } = await engine.insertAccount({ name: "Bad" });
      api.next(...Array.from({ length: unknownOutcome === "park" ? 1 : 5 }, serverError));
      for (let round = 0; round < 10; round += 1) await engine.round(api, options);
      const parked = await engine.row(id);
      // Not captured: it is the discard that brings it to the API.
      await engine.query("update m_account set name = 'Good'");
      await engine.query("delete from account_sync.change");

      await retry(id, true);
      await engine.round(api, options);
      await engine.round(api, options);

      expect(parked).toMatchObject({ state: "parked" });
      expect(parked["error"]).toContain(`account-sync retry ${id} --discard`);
      expect(parked["error"]).toContain(`account-sync adopt ${id}`);
      const last = api.requests.at(-1);
      expect(last).toMatchObject({ operation: "create" });
      expect(nameIn(last)).toBe("Good");
      expect(last?.idempotencyKey).not.toBe(api.requests[0]?.idempotencyKey);
      expect(await engine.row(id)).toMatchObject({ state: "clean" });
    },
  );

  test("under lookup: the correction goes out by itself, as the customer is not there", async () => {
    const options = { policy: { unknownOutcome: "lookup" as const } };
    const { id } = await engine.insertAccount({ name: "Bad" });
    api.next(...Array.from({ length: 5 }, serverError));
    for (let round = 0; round < 10; round += 1) await engine.round(api, options);
    const parked = await engine.row(id);

    await engine.rename(id, "Good");
    for (let round = 0; round < 3; round += 1) await engine.round(api, options);

    expect(parked).toMatchObject({ state: "parked", error_class: "server" });
    expect(nameIn(api.requests.at(-1))).toBe("Good");
    expect(await engine.row(id)).toMatchObject({ state: "clean" });
  });

  test("is sent five times under resend, and then no more", async () => {
    const options = { policy: { unknownOutcome: "resend" as const } };
    await engine.insertAccount();
    api.next(...Array.from({ length: 20 }, serverError));

    for (let round = 0; round < 20; round += 1) await engine.round(api, options);

    expect(api.requests).toHaveLength(5);
    expect(new Set(api.requests.map(({ idempotencyKey }) => idempotencyKey)).size).toBe(1);
  });

  test("may be adopted where it was applied all the same: one customer, which is updated", async () => {
    const { id } = await engine.insertAccount();
    api.next(serverError());
    await engine.round(api);

    await engine.query("select account_sync.adopt($1, 'ext-found')", [id]);
    const written = await engine.ids(id);
    await engine.round(api);

    expect(written).toMatchObject({ account: "ext-found" });
    expect(api.requests[1]).toMatchObject({ operation: "update", externalId: "ext-found" });
    expect(await engine.row(id)).toMatchObject({ state: "clean" });
  });
});

describe("an update that adds a tier and is answered with 500", () => {
  async function stuck() {
    const account = await engine.insertAccount();
    await engine.round(api);
    await engine.query(
      `insert into m_account_package_tier (account_id, min_value, max_value, amount, start_date, end_date)
       values ($1, 1, 2, 5, '2026-01-01', '2026-12-31')`,
      [account.id],
    );
    api.next(...Array.from({ length: 5 }, serverError));
    for (let round = 0; round < 6; round += 1) await engine.round(api);
    return account.id;
  }

  test("parks with the choice after five times, instead of going round for ever", async () => {
    const id = await stuck();

    expect(api.requests).toHaveLength(6);
    expect(await engine.row(id)).toMatchObject({
      state: "parked",
      error_class: "server",
      error: expect.stringContaining(`account-sync retry ${id} --discard`),
    });
    const [status] = await engine.query(
      "select explanation from account_sync.status where account_id = $1",
      [id],
    );
    expect(status?.["explanation"]).toContain("--discard");
  });

  test("given up, lets current data go out", async () => {
    const id = await stuck();
    await engine.query("update m_account_package_tier set max_value = 3");
    await engine.query("delete from account_sync.change");

    await retry(id, true);
    await engine.round(api);
    await engine.round(api);

    expect(JSON.parse(api.requests.at(-1)?.body ?? "{}").tier[0].max_amount).toBe(3);
    expect(await engine.row(id)).toMatchObject({ state: "clean" });
    expect((await engine.ids(id)).tiers).toEqual([expect.any(String)]);
  });

  test("says that newer data wait for it", async () => {
    const id = await stuck();
    await engine.rename(id, "Newer");
    await engine.queue.fold();
    await engine.set(
      id,
      "parked_at = now(), due_at = null, error_class = 'unknown_outcome', error = 'x'",
    );

    const [status] = await engine.query(
      "select explanation from account_sync.status where account_id = $1",
      [id],
    );

    expect(status?.["explanation"]).toContain("Newer data wait until then.");
  });
});

describe("a send that fails for ever comes to its end, whenever newer data come", () => {
  const refused = () => failed({ errorClass: "server", delivery: "unknown", httpStatus: 500 });

  test.each([
    ["a create that is sent again", 0, serverError, { unknownOutcome: "resend" }],
    ["a create under a lookup that finds nobody", 0, serverError, { unknownOutcome: "lookup" }],
    ["an update that adds a tier", 1, serverError, {}],
    ["one with a limit of attempts", 1, refused, { maxAttempts: 5 }],
  ] as const)("%s", async (_, settled, answer, policy) => {
    const edits = fc.array(fc.nat({ max: 12 }), { maxLength: 4 });

    await fc.assert(
      fc.asyncProperty(edits, async (editedIn) => {
        await engine.reset();
        api = createFakeApi();
        const { id } = await engine.insertAccount();
        if (settled === 1) await engine.round(api);
        await engine.query(
          `insert into m_account_package_tier (account_id, min_value, max_value, amount, start_date, end_date)
           values ($1, 1, 2, 5, '2026-01-01', '2026-12-31')`,
          [id],
        );
        const ends = 13 + 5 * (editedIn.length + 1);
        api.next(...Array.from({ length: ends }, answer));

        for (let round = 0; round < ends; round += 1) {
          if (editedIn.includes(round)) await engine.rename(id, `Name ${round}`);
          await engine.round(api, { policy });
        }

        expect(await engine.row(id)).toMatchObject({ state: "parked" });
        // Each edit is a reason to try what is unfinished once more.
        expect(api.requests.length - settled).toBeLessThanOrEqual(5 * (editedIn.length + 1));
      }),
      { numRuns: 4, seed: 1, examples: [[[1]]] },
    );
  });
});

test("an unfinished send is given up also while it is tried again by itself", async () => {
  const resend = { policy: { unknownOutcome: "resend" as const } };
  const { id } = await engine.insertAccount({ name: "Bad" });
  api.next(noAnswer());
  await engine.round(api, resend);
  await engine.rename(id, "Good");

  const [put] = await engine.query("select account_sync.retry($1, discard => true) as back", [id]);
  await engine.round(api, resend);
  await engine.round(api, resend);

  expect(put).toEqual({ back: true });
  expect(api.requests.map(nameIn)).toEqual(["Bad", "Good"]);
});

test("giving up is good for one send: the next one that is in doubt is not given up for it", async () => {
  const resend = { policy: { unknownOutcome: "resend" as const } };
  const { id } = await engine.insertAccount();
  api.next(rejected(), noAnswer());
  await engine.round(api, resend);
  // There is nothing to give up: the refused create has come to its end.
  await retry(id, true);
  await engine.round(api, resend);

  await engine.round(api, resend);

  const [, inDoubt, repeated] = api.requests;
  expect(repeated?.idempotencyKey).toBe(inDoubt?.idempotencyKey);
});

test("what was given up leads to the next create, and that is decided anew when it is in doubt", async () => {
  const { id } = await engine.insertAccount();
  api.next(noAnswer(), noAnswer());
  await engine.round(api);
  await retry(id, true);
  await engine.round(api);
  await engine.round(api);
  await engine.round(api);

  expect(api.requests).toHaveLength(2);
  expect(await engine.row(id)).toMatchObject({ state: "parked", error_class: "unknown_outcome" });
});

test("giving up waits while the API may still be working on the send", async () => {
  const { id } = await engine.insertAccount();
  const patient = { policy: { applyingMaxMs: 60_000 } };
  api.next(noAnswer());
  await engine.round(api, patient);
  await retry(id, true);

  const waiting = await only(engine.round(api, patient));

  expect(waiting).toMatchObject({ name: "retry", errorClass: "unknown_outcome" });
  expect(await engine.row(id)).toMatchObject({ request: { discard: true } });
  expect(api.requests).toHaveLength(1);
});

describe("a send that gets the same 500 five times is parked, and its error says what really happens:", () => {
  const deleting = { policy: { onAccountDelete: "delete" as const } };
  const answered500 = (delivery: "unknown" | "not_applied") =>
    api.next(
      ...Array.from({ length: 5 }, () =>
        failed({ errorClass: "server", delivery, httpStatus: 500, isAboutSend: true }),
      ),
    );
  const fiveRounds = async (options?: SyncTestOptions) => {
    for (let round = 0; round < 5; round += 1) await engine.round(api, options);
    expect(api.requests.splice(0)).not.toEqual([]);
  };
  const explained = async (id: string) =>
    (
      await engine.query("select explanation from account_sync.status where account_id = $1", [id])
    )[0]?.["explanation"];
  const sent = () => api.requests.map(({ operation }) => operation);

  test("an update that only changes values: the next edit goes out by itself", async () => {
    const { id } = await engine.insertAccount();
    await engine.round(api);
    await engine.rename(id, "Newer");
    answered500("unknown");
    await fiveRounds();

    const { error, state } = await engine.row(id);
    expect(state).toBe("parked");
    expect(error).toContain(
      `5 times in a row. Newer data do not wait for it: the next change is sent by itself. Current data without a change: \`account-sync retry ${id}\`.`,
    );
    expect(await explained(id)).toBe(
      `Nothing is sent until a person decides, or the account changes. ${error}`,
    );
    await engine.rename(id, "Newest");
    await engine.round(api);
    expect(api.requests.map(nameIn)).toEqual(["Newest"]);
  });

  test("a create that was not applied: the same goes out first, with the next edit too", async () => {
    const { id } = await engine.insertAccount({ name: "Old" });
    answered500("not_applied");
    await fiveRounds();

    const { error } = await engine.row(id);
    expect(error).toContain("The create was not applied. The same once more:");
    expect(error).not.toContain("may exist");
    await engine.rename(id, "New");
    await engine.round(api);
    await engine.round(api);
    expect(api.requests.map(nameIn)).toEqual(["Old", "New"]);
  });

  test("a delete: retry sends it once more", async () => {
    const id = await parkedDelete();

    await retry(id, false);
    const outcome = await only(engine.round(api, deleting));

    expect(outcome).toMatchObject({ name: "gone", operation: "delete" });
    expect(sent()).toEqual(["delete"]);
  });

  test("a delete: retry with discard ends it, and the customer stays at the API", async () => {
    const id = await parkedDelete();

    await retry(id, true);
    const outcome = await only(engine.round(api, deleting));

    expect(outcome).toMatchObject({
      name: "gone",
      operation: null,
      error: expect.stringContaining("the customer stays at the API"),
    });
    expect(sent()).toEqual([]);
    expect(await engine.row(id)).toMatchObject({ state: "clean", error: null, request: null });
    expect((await engine.attempts(id)).filter((row) => row["settled_at"] === null)).toEqual([]);
  });

  async function parkedDelete(): Promise<string> {
    const { id } = await engine.insertAccount();
    await engine.round(api, deleting);
    await engine.query("delete from m_account where id::text = $1", [id]);
    answered500("unknown");
    await fiveRounds(deleting);

    const { error, state } = await engine.row(id);
    expect(state).toBe("parked");
    expect(error).toContain(
      `5 times in a row. The delete once more: \`account-sync retry ${id}\`. To end it, so that the customer stays at the API: \`${callOn("retry", id, ["--discard"])}\`.`,
    );
    expect(await explained(id)).toContain(error);
    return id;
  }
});

describe("failures are counted by their kind", () => {
  test("four 503s and one incomplete answer do not park", async () => {
    const { id } = await engine.insertAccount({ tiers: 1 });
    const unavailable = failed({ errorClass: "server", delivery: "not_applied", httpStatus: 503 });
    api.next(...Array.from({ length: 4 }, () => unavailable));
    for (let round = 0; round < 4; round += 1) await engine.round(api);
    api.next((request) => withoutTiers(request.idempotencyKey));

    const outcome = await only(engine.round(api));

    expect(outcome).toMatchObject({ name: "partial", errorClass: "incomplete" });
    expect(await engine.row(id)).toMatchObject({ state: "retrying", failures_alike: 1 });
  });

  test("five incomplete answers do, with an outage in between", async () => {
    const { id } = await engine.insertAccount({ tiers: 1 });
    const outage = failed({ errorClass: "network" });
    for (let round = 0; round < 5; round += 1) {
      api.next((request) => withoutTiers(request.externalId ?? "ext-1"), outage);
      await engine.round(api);
      if (round < 4) await engine.round(api);
    }

    expect(await engine.row(id)).toMatchObject({ state: "parked", error_class: "incomplete" });
  });

  test("whatever fails in between: parked by the fifth of one kind in a row, where nothing else counts", async () => {
    const kinds = fc.constantFrom("incomplete", "the same 500", "503", "refused");
    await fc.assert(
      fc.asyncProperty(fc.array(kinds, { minLength: 8, maxLength: 16 }), async (failures) => {
        await engine.reset();
        api = createFakeApi();
        const { id } = await engine.insertAccount({ tiers: 1 });
        await engine.round(api);
        await engine.query("update m_account_package_tier set uuid_be = null");
        await engine.query("delete from account_sync.mapped_id where entity = 'tier'");
        await engine.forceSync(id);

        let last = "";
        let alike = 0;
        for (const kind of failures) {
          if (alike === 5) break;
          api.next((request) => answerTo(kind, request.externalId ?? ""));
          await engine.round(api);
          if (kind !== "incomplete" && kind !== "the same 500") continue;
          alike = kind === last ? alike + 1 : 1;
          last = kind;
        }

        const isParked = (await engine.row(id))["state"] === "parked";
        expect(isParked).toBe(alike === 5);
      }),
      {
        numRuns: 15,
        examples: [
          [["the same 500", "the same 500", "the same 500", "the same 500", "incomplete", "503"]],
        ],
      },
    );
  });

  function answerTo(kind: string, customer: string) {
    if (kind === "incomplete") return withoutTiers(customer);
    if (kind === "the same 500") return serverError();
    return kind === "503"
      ? failed({ errorClass: "server", delivery: "unknown", httpStatus: 503 })
      : failed({ errorClass: "network" });
  }

  test("an outage of any length parks nothing but creates in doubt", async () => {
    const { id } = await engine.insertAccount();
    await engine.round(api);
    await engine.rename(id, "Newer");
    const outage = failed({ errorClass: "server", delivery: "unknown", httpStatus: 503 });
    api.next(...Array.from({ length: 12 }, () => outage));

    for (let round = 0; round < 12; round += 1) await engine.round(api);

    expect(await engine.row(id)).toMatchObject({ state: "retrying", attempts: 12 });
  });

  function withoutTiers(customer: string) {
    return {
      kind: "accepted",
      httpStatus: 200,
      answer: {
        refusal: null,
        customer: section([customer]),
        branch: section([]),
        tier: { ...section([]), failed: 1 },
        crew: section([]),
      },
    } as const;
  }

  function section(ids: readonly string[]) {
    return {
      present: ids.length > 0,
      items: ids.map((id) => ({ id, raw: { id } })),
      failed: 0,
      errors: [],
    };
  }
});

describe("under lookup, an account that was never sent", () => {
  const first = { policy: { unknownOutcome: "lookup" as const, lookupFirst: true } };

  test("is looked for before it is created: a customer of an earlier system is taken over, not made twice", async () => {
    const { id } = await engine.insertAccount();
    api.nextLookup(foundThere({ customer: "ext-earlier" }));

    const adopted = await only(engine.round(api, first));
    await engine.round(api, first);

    expect(adopted).toMatchObject({ name: "retry", operation: null });
    expect(api.requests).toMatchObject([{ operation: "update", externalId: "ext-earlier" }]);
    expect(await engine.ids(id)).toMatchObject({ account: "ext-earlier" });
  });

  test("is created when it is not there, and looked for once", async () => {
    const { id } = await engine.insertAccount();

    await engine.round(api, first);
    await engine.rename(id, "Newer");
    await engine.round(api, first);

    expect(api.lookups).toHaveLength(1);
    expect(api.requests.map(({ operation }) => operation)).toEqual(["create", "update"]);
  });

  test("is parked where the lookup cannot tell, and created at a person's word", async () => {
    const { id } = await engine.insertAccount();
    api.nextLookup(unclear("it lists 3 customers"));

    const parked = await only(engine.round(api, first));
    await retry(id, true);
    await engine.round(api, first);

    expect(parked).toMatchObject({
      name: "parked",
      errorClass: "rejected",
      error: expect.stringContaining(`account-sync adopt ${id}`),
    });
    expect(api.requests.map(({ operation }) => operation)).toEqual(["create"]);
  });

  test("waits while the lookup has no answer", async () => {
    await engine.insertAccount();
    api.nextLookup(failed({ errorClass: "network" }));

    const outcome = await only(engine.round(api, first));

    expect(outcome).toMatchObject({ name: "retry", errorClass: "network", operation: null });
    expect(api.requests).toEqual([]);
  });

  test("whose ids were forgotten is created without a lookup: that is what forgetting is for", async () => {
    const { id } = await engine.insertAccount();
    await engine.round(api, first);
    await engine.query("select account_sync.forget($1)", [id]);
    await engine.forceSync(id);
    api.nextLookup(foundThere({ customer: "ext-customer-1" }));

    await engine.round(api, first);

    expect(api.requests.map(({ operation }) => operation)).toEqual(["create", "create"]);
  });
});
