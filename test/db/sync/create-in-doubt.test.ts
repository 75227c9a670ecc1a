/** A create whose outcome is unknown is parked, and only a person sends it again. */
import { beforeAll, beforeEach, describe, expect, test } from "vitest";
import { createEngine, type Engine, only } from "../../support/engine.ts";
import { createFakeApi, type FakeApi, failed, nameIn, noAnswer } from "../../support/fake-api.ts";
import { beforeTheJournal, crashDuringSend } from "../../support/interruptions.ts";

let engine: Engine;
let api: FakeApi;

beforeAll(async () => {
  engine = await createEngine();
});

beforeEach(async () => {
  await engine.reset();
  api = createFakeApi();
});

describe("a create without an answer", () => {
  test("is parked for a human, and neither a change nor a backfill sends it again", async () => {
    const { id } = await engine.insertAccount();
    const unknown: string[] = [];
    api.next(noAnswer());

    const outcome = await only(
      engine.round(api, { observe: { unknownOutcome: (account) => void unknown.push(account) } }),
    );
    await engine.rename(id, "Newer");
    await engine.round(api);
    await engine.change(id, { lane: "backfill" });
    await engine.round(api);

    expect(outcome).toMatchObject({ name: "parked", errorClass: "unknown_outcome" });
    expect(unknown).toEqual([id]);
    expect(api.requests).toHaveLength(1);
    expect(await engine.row(id)).toMatchObject({ state: "parked", error_class: "unknown_outcome" });
    expect(await engine.attempts(id)).toMatchObject([
      { delivery: "unknown", settled_at: null, body: expect.any(String) },
    ]);
  });

  test.each([
    ["retried by a person", "retry"],
    ["forced by a person", "force"],
  ])("%s goes out with the same key and body, and only then what changed since", async (_, how) => {
    const { id } = await engine.insertAccount();
    api.next(noAnswer());
    await engine.round(api);
    await engine.rename(id, "Newer");
    await engine.queue.fold();
    if (how === "retry") await engine.queue.retry({ ids: [id], errorClass: null });
    else await engine.forceSync(id);

    await engine.round(api);
    await engine.round(api);

    const [first, second, third] = api.requests;
    expect(second).toMatchObject({
      operation: "create",
      idempotencyKey: first?.idempotencyKey,
      body: first?.body,
    });
    expect(third).toMatchObject({ operation: "update", externalId: "ext-customer-1" });
    expect(nameIn(third)).toBe("Newer");
    expect(await engine.row(id)).toMatchObject({ state: "clean" });
    expect(api.requests).toHaveLength(3);
  });

  test("found after a crash is told as unknown, once", async () => {
    const { id } = await engine.insertAccount();
    const unknown: string[] = [];
    const observe = { unknownOutcome: (account: string) => void unknown.push(account) };
    await crashDuringSend(engine, api);

    const outcome = await only(engine.round(api, { observe }));
    await engine.queue.retry({ ids: null, errorClass: null });
    api.next(noAnswer());
    await engine.round(api, { observe });

    expect(outcome).toMatchObject({ name: "parked", errorClass: "unknown_outcome" });
    expect(unknown).toEqual([id]);
  });

  test.each(["NOTIFY", "retry"])(
    "found after a crash is not sent again on the word of the %s that it was sent for",
    async (asked) => {
      const { id } = await engine.insertAccount();
      if (asked === "retry") {
        api.next(noAnswer());
        await engine.round(api);
        await engine.queue.retry({ ids: [id], errorClass: null });
      } else {
        await engine.forceSync(id);
      }
      const before = api.requests.length;
      await crashDuringSend(engine, api);

      const outcome = await only(engine.round(api));

      expect(outcome).toMatchObject({ name: "parked", errorClass: "unknown_outcome" });
      expect(api.requests).toHaveLength(before + 1);
    },
  );

  test("is repeated where it was sent, whoever asks for it", async () => {
    const { id } = await engine.insertAccount();
    const asked: (string | null)[] = [];
    const watched = beforeTheJournal(async (configId) => asked.push(configId));
    await engine.change(id, { lane: "manual", request: { force: true, config_id: "other" } });
    api.next(noAnswer());
    await engine.round(api, watched);
    await engine.queue.retry({ ids: [id], errorClass: null });

    await engine.round(api, watched);

    expect(asked).toEqual(["other", "other"]);
  });

  test("is an update from there on when somebody wrote the id", async () => {
    const { id } = await engine.insertAccount();
    api.next(noAnswer());
    await engine.round(api);
    await engine.query("update m_account set uuid_be = 'found-at-the-api' where id = $1", [id]);
    await engine.queue.retry({ ids: [id], errorClass: null });

    await engine.round(api);

    expect(api.requests[1]).toMatchObject({ operation: "update", externalId: "found-at-the-api" });
    expect(await engine.attempts(id)).toMatchObject([
      { settled_at: expect.any(Date), body: null },
      { outcome: "synced" },
    ]);
  });

  test("that a person sends again waits while the API is away, instead of asking the person once more", async () => {
    const { id } = await engine.insertAccount();
    api.next(noAnswer(), failed({ countsAsAttempt: false }));
    await engine.round(api);
    await engine.queue.retry({ ids: [id], errorClass: null });

    const away = await only(engine.round(api));
    const back = await only(engine.round(api));

    expect(away).toMatchObject({ name: "retry", errorClass: "network" });
    expect(back).toMatchObject({ name: "synced" });
    expect(new Set(api.requests.map(({ idempotencyKey }) => idempotencyKey)).size).toBe(1);
  });

  test("stays parked when somebody asked for a sync while it was under way: he did not know", async () => {
    const { id } = await engine.insertAccount();
    api.next(async () => {
      await engine.forceSync(id);
      await engine.queue.fold();
      return noAnswer();
    });
    await engine.round(api);

    await engine.round(api);

    expect(api.requests).toHaveLength(1);
    expect(await engine.row(id)).toMatchObject({ state: "parked", error_class: "unknown_outcome" });
  });

  test("that a person sends again goes out when the first one cannot be under way any more", async () => {
    const { id } = await engine.insertAccount();
    api.next(noAnswer());
    await engine.round(api);
    await engine.queue.retry({ ids: [id], errorClass: null });
    const patient = { policy: { applyingMaxMs: 60_000 } };

    await engine.round(api, patient);
    const early = api.requests.length;
    await engine.query("update account_sync.attempt set started_at = now() - interval '61 s'");
    await engine.makeDue();
    await engine.round(api, patient);

    expect(early).toBe(1);
    expect(api.requests).toHaveLength(2);
    expect(new Set(api.requests.map(({ idempotencyKey }) => idempotencyKey)).size).toBe(1);
    expect(await engine.row(id)).toMatchObject({ state: "clean" });
  });
});
