/** A create whose outcome is unknown is looked for at the API before it is sent again. */
import { beforeAll, beforeEach, describe, expect, test } from "vitest";
import { createEngine, type Engine, only } from "../../support/engine.ts";
import { eventually } from "../../support/eventually.ts";
import {
  accepted,
  createFakeApi,
  type FakeApi,
  failed,
  foundThere,
  nameIn,
  noAnswer,
  notThere,
  unclear,
} from "../../support/fake-api.ts";
import {
  beforeTheJournal,
  crashBeforeWriteBack,
  crashDuringSend,
} from "../../support/interruptions.ts";

let engine: Engine;
let api: FakeApi;

beforeAll(async () => {
  engine = await createEngine();
});

beforeEach(async () => {
  await engine.reset();
  api = createFakeApi();
});

/** The external id of the account in the mapping. */
async function mappedTo(accountId: string): Promise<unknown> {
  const [row] = await engine.query(
    "select external_id from account_sync.id_mapping where account_id = $1 and entity = 'account'",
    [accountId],
  );
  return row?.["external_id"];
}

describe("a create without an answer, with lookup", () => {
  const lookup = { policy: { unknownOutcome: "lookup" as const } };

  test("that the API has is adopted: what is proven is written, nothing is created, and an update brings what stands in the tables", async () => {
    const { id } = await engine.insertAccount({ tiers: 1 });
    api.next(noAnswer());
    api.nextLookup(foundThere({ customer: "ext-there", branch: "ext-b", tiers: ["ext-t"] }));

    await engine.round(api, lookup);
    await engine.rename(id, "Newer");
    const adopted = await only(engine.round(api, lookup));
    const [journaled] = await engine.attempts(id);
    await engine.makeDue();
    await engine.round(api, lookup);

    expect(api.lookups).toMatchObject([{ accountNo: "A-1", accountId: id }]);
    expect(adopted).toMatchObject({
      name: "retry",
      error: expect.stringContaining("A lookup found the customer"),
    });
    expect(journaled).toMatchObject({
      operation: "create",
      settled_at: expect.any(Date),
      body: null,
    });
    expect(api.requests.map(({ operation }) => operation)).toEqual(["create", "update"]);
    expect(api.requests[1]?.externalId).toBe("ext-there");
    expect(nameIn(api.requests[1])).toBe("Newer");
    const { account, tiers } = await engine.ids(id);
    expect(account).toBe("ext-there");
    expect(tiers).toEqual([expect.stringMatching(/^ext-tier-/)]);
    expect(await engine.row(id)).toMatchObject({ state: "clean", error: null });
  });

  test("that was adopted is updated also when nothing changed: nobody knows what that customer holds", async () => {
    const { id } = await engine.insertAccount();
    api.next(noAnswer());
    api.nextLookup(foundThere({ customer: "ext-there" }));

    await engine.round(api, lookup);
    await engine.round(api, lookup);
    await engine.makeDue();
    await engine.round(api, lookup);

    expect(api.requests.map(({ operation }) => operation)).toEqual(["create", "update"]);
    expect(await engine.row(id)).toMatchObject({ state: "clean" });
  });

  test("that is not there, with the same data, goes out again under the same key and body", async () => {
    const { id } = await engine.insertAccount();
    api.next(noAnswer());

    await engine.round(api, lookup);
    await engine.round(api, lookup);

    expect(api.lookups).toHaveLength(1);
    const [first, second] = api.requests;
    expect(second).toMatchObject({
      operation: "create",
      idempotencyKey: first?.idempotencyKey,
      body: first?.body,
    });
    expect(await engine.ids(id)).toMatchObject({ account: "ext-customer-1" });
  });

  test("that is not there, and whose data have changed, is given up: current data go out as the next create", async () => {
    const { id } = await engine.insertAccount();
    api.next(noAnswer());

    await engine.round(api, lookup);
    await engine.rename(id, "Newer");
    const discarded = await only(engine.round(api, lookup));
    await engine.round(api, lookup);

    expect(discarded).toMatchObject({
      name: "retry",
      errorClass: null,
      error: expect.stringContaining("given up, as a lookup did not find it"),
    });
    const [first, second] = api.requests;
    expect(second).toMatchObject({ operation: "create" });
    expect(second?.idempotencyKey).not.toBe(first?.idempotencyKey);
    expect(nameIn(second)).toBe("Newer");
    expect(await engine.ids(id)).toMatchObject({ account: "ext-customer-1" });
  });

  test("is asked for by the number it was sent with, not by the one the row has now", async () => {
    const { id } = await engine.insertAccount();
    api.next(noAnswer());
    await engine.round(api, lookup);
    await engine.query("update m_account set account_no = 'B-2' where id = $1", [id]);

    await engine.round(api, lookup);

    expect(api.lookups).toMatchObject([{ accountNo: "A-1" }]);
  });

  test("that is not there yet is not sent again while the API may be at work on it", async () => {
    const { id } = await engine.insertAccount();
    const patient = { policy: { ...lookup.policy, applyingMaxMs: 60_000 } };
    api.next(noAnswer());
    api.nextLookup(notThere(), foundThere({ customer: "ext-slow" }));

    await engine.round(api, patient);
    const early = await only(engine.round(api, patient));
    const waiting = await engine.row(id);
    await engine.makeDue();
    await engine.round(api, patient);
    const mapped = await mappedTo(id);

    expect(early).toMatchObject({ name: "retry", errorClass: "unknown_outcome", failed: [] });
    expect(waiting["due_in_ms"]).toBeGreaterThan(50_000);
    expect(waiting["due_in_ms"]).toBeLessThanOrEqual(60_000);
    expect(api.requests).toHaveLength(1);
    expect(mapped).toBe("ext-slow");
  });

  test.each([408, 499, 500, 502, 503, 504, 520, 524])(
    "that was answered with %i waits, too: a gateway may have answered for an API that goes on",
    async (httpStatus) => {
      await engine.insertAccount();
      const patient = { policy: { ...lookup.policy, applyingMaxMs: 60_000 } };
      api.next(failed({ errorClass: "server", delivery: "unknown", httpStatus }));
      api.nextLookup(notThere());
      await engine.round(api, patient);
      await engine.query("update m_account set name = name || ', corrected'");
      await engine.makeDue();

      const early = await only(engine.round(api, patient));

      expect(early).toMatchObject({ name: "retry", errorClass: "unknown_outcome" });
      expect(api.requests).toHaveLength(1);
    },
  );

  test.each([
    ["an outage", failed({ errorClass: "server", delivery: "unknown", httpStatus: 500 })],
    ["a refused token", failed({ errorClass: "unauthorized", countsAsAttempt: false })],
    ["throttling", failed({ errorClass: "throttled", countsAsAttempt: false })],
    ["silence", noAnswer()],
  ] as const)("is not sent again while %s keeps the lookup from its answer", async (_, failure) => {
    const { id } = await engine.insertAccount();
    api.next(noAnswer());
    api.nextLookup(failure, failure, foundThere({ customer: "ext-there" }));

    await engine.round(api, lookup);
    const first = await only(engine.round(api, lookup));
    await engine.round(api, lookup);
    await engine.round(api, lookup);

    expect(first).toMatchObject({ name: "retry", errorClass: failure.failure.errorClass });
    expect(api.lookups).toHaveLength(3);
    expect(api.requests).toHaveLength(1);
    expect(await mappedTo(id)).toBe("ext-there");
  });

  test("is left to a human when the lookup cannot tell, with what it said", async () => {
    const { id } = await engine.insertAccount();
    api.next(noAnswer());
    api.nextLookup(unclear("lookup answered 200: 3 customers carry this account number"));

    await engine.round(api, lookup);
    const outcome = await only(engine.round(api, lookup));
    await engine.rename(id, "Newer");
    await engine.round(api, lookup);

    expect(outcome).toMatchObject({ name: "parked", errorClass: "unknown_outcome" });
    expect(await engine.row(id)).toMatchObject({
      state: "parked",
      error: expect.stringMatching(/3 customers carry .*account-sync adopt/),
    });
    expect(api.requests).toHaveLength(1);
  });

  test("that a person sends again waits like any other where the lookup finds nothing so soon", async () => {
    const { id } = await engine.insertAccount();
    const patient = { policy: { ...lookup.policy, applyingMaxMs: 60_000 } };
    api.next(noAnswer());
    api.nextLookup(unclear("unclear"), notThere());
    await engine.round(api, patient);
    await engine.round(api, patient);
    await engine.queue.retry({ ids: [id], errorClass: null });

    const waiting = await only(engine.round(api, patient));

    expect(waiting).toMatchObject({ name: "retry", errorClass: "unknown_outcome" });
    expect(await engine.row(id)).toMatchObject({ request: { retry: true } });
    expect(api.requests).toHaveLength(1);
  });

  test("that a person sends again is looked for first, and sent where the lookup still cannot tell", async () => {
    const found = await engine.insertAccount();
    const untold = await engine.insertAccount();
    api.next(noAnswer(), noAnswer());
    api.nextLookup(unclear("unclear"), unclear("unclear"));
    await engine.round(api, lookup);
    await engine.round(api, lookup);
    await engine.queue.retry({ ids: [found.id], errorClass: null });
    api.nextLookup(foundThere({ customer: "ext-there" }));
    await engine.round(api, lookup);
    await engine.queue.retry({ ids: [untold.id], errorClass: null });
    api.nextLookup(unclear("unclear"));

    await engine.round(api, lookup);

    expect(await mappedTo(found.id)).toBe("ext-there");
    expect((await engine.ids(untold.id)).account).toMatch(/^ext-customer/);
    const creates = api.requests.filter(({ operation }) => operation === "create");
    expect(creates).toHaveLength(3);
  });

  const GUID = "3f2504e0-4f89-41d3-9a0c-0305e82c3301";

  test.each([
    ["stands on another account", "ext-theirs", "ext-theirs"],
    ["is journaled for another account", "ext-theirs", "ext-theirs"],
    ["stands on another account", "in another letter case", GUID],
    ["is journaled for another account", "in another letter case", GUID],
  ])("is never given a customer whose id %s (%s)", async (where, _, theirs) => {
    const other = await engine.insertAccount();
    api.next(accepted({ customer: theirs }));
    if (where === "stands on another account") await engine.round(api, lookup);
    else {
      await crashBeforeWriteBack(engine, api);
      expect((await engine.ids(other.id)).account).toBeNull();
    }
    await engine.putOffAll();
    const { id } = await engine.insertAccount();
    api.next(noAnswer());
    api.nextLookup(foundThere({ customer: theirs === GUID ? GUID.toUpperCase() : theirs }));
    await engine.round(api, lookup);

    const outcome = await only(engine.round(api, lookup));

    expect(outcome).toMatchObject({
      name: "parked",
      errorClass: "unknown_outcome",
      error: expect.stringContaining(other.id),
    });
    expect((await engine.ids(id)).account).toBeNull();
  });

  test("is given a customer whose id differs from another account's in the letter case, where it is no GUID", async () => {
    await engine.insertAccount();
    api.next(accepted({ customer: "EXT-theirs" }));
    await engine.round(api, lookup);
    await engine.putOffAll();
    const { id } = await engine.insertAccount();
    api.next(noAnswer());
    api.nextLookup(foundThere({ customer: "ext-theirs" }));
    await engine.round(api, lookup);

    await engine.round(api, lookup);

    expect(await mappedTo(id)).toBe("ext-theirs");
  });

  test("takes turns with others that found the same customer, and looks whose it is only then", async () => {
    const other = await engine.insertAccount();
    api.next(accepted({ customer: "ext-other" }));
    await engine.round(api, lookup);
    const { id } = await engine.insertAccount();
    api.next(noAnswer());
    await engine.round(api, lookup);
    api.nextLookup(foundThere({ customer: "ext-theirs" }));
    const { promise: turnIsOver, resolve: endTurn } = Promise.withResolvers<void>();

    const theirTurn = engine.db.transaction(async (tx) => {
      await tx.run("lock_external_id", ["ext-theirs"]);
      await turnIsOver;
    });
    const ours = only(engine.round(api, lookup));
    await eventually(async () => {
      const waiting = await engine.query(
        "select from pg_locks where locktype = 'advisory' and not granted and database = (select oid from pg_database where datname = current_database())",
      );
      expect(waiting).toHaveLength(1);
    });
    await engine.query("update m_account set uuid_be = 'ext-theirs' where id = $1", [other.id]);
    endTurn();
    await theirTurn;

    expect(await ours).toMatchObject({ name: "parked", errorClass: "unknown_outcome" });
    expect((await engine.ids(id)).account).toBeNull();
  });

  test("of two accounts with one number: only one of them gets the customer, also when both find it at once", async () => {
    for (let n = 0; n < 6; n += 1) await engine.insertAccount();
    api.next(...Array.from({ length: 6 }, () => noAnswer()));
    await engine.round(api, lookup);
    api.nextLookup(...Array.from({ length: 6 }, () => foundThere({ customer: "ext-one" })));

    const outcomes = Object.values(await engine.round(api, lookup));

    expect(outcomes.map((outcome) => outcome?.name).toSorted()).toEqual([
      ...Array.from({ length: 5 }, () => "parked"),
      "retry",
    ]);
    const owners = await engine.query(
      "select from account_sync.id_mapping where external_id = 'ext-one'",
    );
    expect(owners).toHaveLength(1);
  });

  test("is not even looked for by somebody who has lost the lease", async () => {
    const { id } = await engine.insertAccount();
    api.next(noAnswer());
    await engine.round(api, lookup);
    const run = await engine.sync(api, {
      ...lookup,
      ...beforeTheJournal(() =>
        engine.query("update account_sync.account set lease_token = gen_random_uuid()"),
      ),
    });

    const outcome = await run(await engine.claimNext());

    expect(outcome).toBeNull();
    expect(api.lookups).toEqual([]);
    expect(await engine.attempts(id)).toHaveLength(1);
  });

  test("is adopted once, also when the process dies between what it found and the mapping", async () => {
    const { id } = await engine.insertAccount();
    api.next(noAnswer());
    await engine.round(api, lookup);
    api.nextLookup(foundThere({ customer: "ext-there" }), foundThere({ customer: "ext-there" }));
    await crashBeforeWriteBack(engine, api, lookup);
    await engine.makeDue();

    await engine.round(api, lookup);

    // What it found is not mapped without the lease.
    expect(api.lookups).toHaveLength(2);
    await engine.round(api, lookup);
    expect(api.requests.map(({ operation }) => operation)).toEqual(["create", "update"]);
    expect(await engine.ids(id)).toMatchObject({ account: "ext-there" });
  });

  test("maps tiers and PICs only to the ids that are proven, and an update asks for the others", async () => {
    const account = await engine.insertAccount({ tiers: 2, pics: 2 });
    api.next(noAnswer());
    api.nextLookup(foundThere({ customer: "ext-c", tiers: ["t-1", "t-2"], crew: ["c-1", "c-2"] }));
    await engine.round(api, lookup);

    const adopted = await only(engine.round(api, lookup));

    expect(adopted).toMatchObject({ name: "retry" });
    expect(await engine.query("select entity, external_id from account_sync.id_mapping")).toEqual([
      { entity: "account", external_id: "ext-c" },
    ]);
    await engine.makeDue();
    await engine.round(api, lookup);
    expect(await engine.row(account.id)).toMatchObject({ state: "clean" });
  });

  test("after a crash is looked for, told as unknown once, and not told again", async () => {
    const { id } = await engine.insertAccount();
    const unknown: string[] = [];
    const observe = { unknownOutcome: (account: string) => void unknown.push(account) };
    await crashDuringSend(engine, api, lookup);
    api.nextLookup(noAnswer(), foundThere({ customer: "ext-there" }));

    await engine.round(api, { ...lookup, observe });
    await engine.round(api, { ...lookup, observe });

    expect(unknown).toEqual([id]);
    expect(api.requests).toHaveLength(1);
    expect(await mappedTo(id)).toBe("ext-there");
  });
});
