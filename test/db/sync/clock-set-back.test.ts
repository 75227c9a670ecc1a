/**
 * The database's clock is set back by an hour: what is written down as a moment lies an hour ahead then, which is how it is played here.
 * What all sends wait for must not wait for that hour.
 */
import { beforeAll, beforeEach, expect, test } from "vitest";
import { createRateLimit } from "../../../src/sync/rate-limit.ts";
import { CONNECTION, createEngine, type Engine } from "../../support/engine.ts";
import { createFakeApi } from "../../support/fake-api.ts";

let engine: Engine;

beforeAll(async () => {
  engine = await createEngine();
});

beforeEach(async () => {
  await engine.reset();
});

const PER_SECOND = 100;

test("turns of the rate limit come after those that were reserved before, and lie as far apart as ever", async () => {
  const limit = createRateLimit(engine.db, PER_SECOND);
  const reserve = async (count: number) => {
    const [reserved] = await engine.db.run<{ waitMs: number }>("reserve_sends", [
      count,
      PER_SECOND,
    ]);
    return reserved?.waitMs;
  };
  await reserve(50);
  await setClockBack("send_rate", ["next_at", "reserved_at"]);

  const firstMs = await reserve(10);
  const nextMs = await reserve(1);

  expect(firstMs).toBeGreaterThan(100);
  expect(firstMs).toBeLessThanOrEqual(500);
  expect(nextMs).toBeGreaterThan(100);
  expect(nextMs).toBeLessThanOrEqual(600);
  expect(await limit.waitForTurn(new AbortController().signal)).toBe(true);
});

test("a wait that an API asked for is over, and one that it asks for then is kept", async () => {
  const { rateLimit } = engine;
  await rateLimit.shareWait(CONNECTION.baseUrl, 60_000);
  await setClockBack("api_hold", ["held_until", "asked_at"]);
  const { id } = await engine.insertAccount();

  const askedMs = await rateLimit.askedWaitMs(CONNECTION.baseUrl);
  const outcomes = await engine.round(createFakeApi());
  await rateLimit.shareWait(CONNECTION.baseUrl, 5_000);
  const askedAgainMs = await rateLimit.askedWaitMs(CONNECTION.baseUrl);

  expect(askedMs).toBe(0);
  expect(outcomes[id]).toMatchObject({ name: "synced" });
  expect(askedAgainMs).toBeGreaterThan(1_000);
  expect(askedAgainMs).toBeLessThanOrEqual(5_000);
});

async function setClockBack(table: string, columns: readonly string[]): Promise<void> {
  const ahead = columns.map((column) => `${column} = ${column} + interval '1 hour'`);
  await engine.query(`update account_sync.${table} set ${ahead.join(", ")}`);
}
