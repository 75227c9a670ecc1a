/** An API that asked one replica to wait is left alone by all of them. */
import { beforeAll, beforeEach, describe, expect, test } from "vitest";
import { CONNECTION, createEngine, type Engine } from "../../support/engine.ts";
import { createFakeApi, type FakeApi } from "../../support/fake-api.ts";

let engine: Engine;
let api: FakeApi;

beforeAll(async () => {
  engine = await createEngine();
});

beforeEach(async () => {
  await engine.reset();
  api = createFakeApi();
});

describe("an API that asked another replica to be left alone", () => {
  test("is not sent to, nothing is journaled, and no attempt is used up", async () => {
    const { id } = await engine.insertAccount();
    const held: number[] = [];
    await engine.rateLimit.shareWait(CONNECTION.baseUrl, 60_000);

    const outcomes = await engine.round({ ...api, startWait: (_, forMs) => held.push(forMs) });

    expect(outcomes[id]).toMatchObject({ name: "retry", errorClass: "throttled" });
    expect(api.requests).toHaveLength(0);
    expect(held).toHaveLength(1);
    expect(held[0]).toBeGreaterThan(50_000);
    const row = await engine.row(id);
    expect(row).toMatchObject({ state: "retrying", attempts: 0 });
    expect(row["due_in_ms"]).toBeGreaterThan(50_000);
    expect(await engine.query("select from account_sync.attempt where settled_at is null")).toEqual(
      [],
    );
    expect(await engine.attempts(id)).toMatchObject([{ outcome: "retry", warnings: 3 }]);
  });

  test("is sent to as soon as the time is over, and a shorter wait does not end a longer one", async () => {
    const { rateLimit } = engine;
    await rateLimit.shareWait("http://one.example", 60_000);
    await rateLimit.shareWait("http://one.example", 10);

    expect(await rateLimit.askedWaitMs("http://one.example")).toBeGreaterThan(0);
    expect(await rateLimit.askedWaitMs("http://other.example")).toBe(0);
    await secondsPass(50);
    expect(await rateLimit.askedWaitMs("http://one.example")).toBeGreaterThan(0);
    await secondsPass(10);
    expect(await rateLimit.askedWaitMs("http://one.example")).toBe(0);
  });

  test("is no reason to take a turn at the rate limit before there is room for the send", async () => {
    await engine.insertAccount();
    const events: string[] = [];
    const slots = {
      admit: async <Result>(_: unknown, work: () => Promise<Result>) => {
        events.push("admitted");
        return await work();
      },
      use: <Result>(request: () => Promise<Result>) => request(),
    };
    const rateLimit = {
      ...engine.rateLimit,
      waitForTurn: async () => events.push("turn") > 0,
    };
    const run = await engine.sync(api, { overrides: { slots, rateLimit } });

    await run(await engine.claimNext());

    expect(events).toEqual(["admitted", "turn"]);
  });
});

async function secondsPass(seconds: number): Promise<void> {
  await engine.query(
    "update account_sync.api_hold set held_until = held_until - $1 * interval '1 s'",
    [seconds],
  );
}
