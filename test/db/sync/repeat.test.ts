/** What is sent again without a person, and under which key. */
import { beforeAll, beforeEach, describe, expect, test } from "vitest";
import { createEngine, type Engine, only } from "../../support/engine.ts";
import {
  accepted,
  createFakeApi,
  type FakeApi,
  failed,
  nameIn,
  noAnswer,
  rejected,
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

describe("a create without an answer", () => {
  test("is sent again by itself where the API honours keys", async () => {
    const { id } = await engine.insertAccount();
    api.next(noAnswer(), noAnswer({ errorClass: "server", httpStatus: 502 }));

    for (let round = 0; round < 3; round += 1)
      await engine.round(api, { policy: { unknownOutcome: "resend" } });

    expect(new Set(api.requests.map(({ idempotencyKey }) => idempotencyKey)).size).toBe(1);
    expect(new Set(api.requests.map(({ body }) => body)).size).toBe(1);
    expect(await engine.ids(id)).toMatchObject({ account: "ext-customer-1" });
    expect(await engine.attempts(id)).toMatchObject([
      { outcome: "retry", delivery: "unknown", body: null },
      { outcome: "retry", delivery: "unknown", body: null },
      { outcome: "synced", delivery: "answered", body: null },
    ]);
  });

  test("stays unknown when its repetition is refused: a 409 may mean that the first one was applied", async () => {
    const { id } = await engine.insertAccount();
    api.next(noAnswer(), rejected({ httpStatus: 409 }));

    for (let round = 0; round < 3; round += 1)
      await engine.round(api, { policy: { unknownOutcome: "resend" } });

    expect(api.requests).toHaveLength(2);
    expect(await engine.row(id)).toMatchObject({ state: "parked", error_class: "unknown_outcome" });
    expect((await engine.attempts(id)).at(-1)).toMatchObject({
      http_status: 409,
      delivery: "unknown",
      settled_at: null,
    });
  });
});

describe("a create", () => {
  test("that was certainly not sent goes out anew, with the newest data", async () => {
    const { id } = await engine.insertAccount();
    api.next(failed({}));
    await engine.round(api);
    await engine.rename(id, "Newer");

    await engine.round(api);

    const [first, second] = api.requests;
    // The API has not seen the key yet.
    expect(second?.idempotencyKey).toBe(first?.idempotencyKey);
    expect(nameIn(second)).toBe("Newer");
  });

  test("that was not applied keeps its key and body, and the newest data follow as an update", async () => {
    const { id } = await engine.insertAccount();
    api.next(failed({ errorClass: "server", delivery: "not_applied", httpStatus: 503 }));
    await engine.round(api);
    await engine.rename(id, "Newer");

    await engine.round(api);
    await engine.round(api);

    const [first, second, third] = api.requests;
    expect(second).toMatchObject({ idempotencyKey: first?.idempotencyKey, body: first?.body });
    expect(third).toMatchObject({ operation: "update" });
    expect(nameIn(third)).toBe("Newer");
    expect(await engine.row(id)).toMatchObject({ state: "clean" });
  });

  test("that names no customer in its answer is as good as unanswered", async () => {
    await engine.insertAccount();
    api.next(accepted({ customer: null, tiers: [] }));

    const outcome = await only(engine.round(api));

    expect(outcome).toMatchObject({ name: "parked", errorClass: "unknown_outcome" });
  });
});
