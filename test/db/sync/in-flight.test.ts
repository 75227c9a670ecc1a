/** No more requests of any kind are in flight than there are slots, however many accounts are at work. */
import { beforeAll, beforeEach, expect, test } from "vitest";
import { systemClock } from "../../../src/clock.ts";
import type { CustomerApi } from "../../../src/customer-api/customer-api.ts";
import { RequestSlots } from "../../../src/queue/request-slots.ts";
import { createEngine, type Engine } from "../../support/engine.ts";
import { createFakeApi, noAnswer } from "../../support/fake-api.ts";

const SLOTS = 3;
const ACCOUNTS = 20;

let engine: Engine;

beforeAll(async () => {
  engine = await createEngine();
});

beforeEach(() => engine.reset());

test("sends, and lookups before the first create and of creates in doubt, share the slots", async () => {
  const fake = createFakeApi();
  const api = countingApi(fake);
  const policy = { unknownOutcome: "lookup" as const, lookupFirst: true };
  const round = () => {
    const slots = new RequestSlots(SLOTS, systemClock);
    return engine.round(api, { policy, overrides: { slots } });
  };
  for (let number = 1; number <= ACCOUNTS; number += 1) await engine.insertAccount();
  // Half of the creates get no answer, and are looked for again.
  fake.next(...Array.from({ length: ACCOUNTS / 2 }, noAnswer));

  await round();
  await engine.makeDue();
  await round();

  expect(fake.lookups).toHaveLength(ACCOUNTS + ACCOUNTS / 2);
  expect(fake.requests).toHaveLength(ACCOUNTS + ACCOUNTS / 2);
  expect(api.mostInFlight).toBe(SLOTS);
});

/** Takes a moment for each answer. */
function countingApi(api: CustomerApi): CustomerApi & { mostInFlight: number } {
  let inFlight = 0;
  const counted = async <Result>(request: () => Promise<Result>) => {
    inFlight += 1;
    counting.mostInFlight = Math.max(counting.mostInFlight, inFlight);
    await new Promise((resolve) => setTimeout(resolve, 5));
    inFlight -= 1;
    return await request();
  };
  const counting = {
    mostInFlight: 0,
    send: (connection, request) => counted(() => api.send(connection, request)),
    lookUp: (connection, request) => counted(() => api.lookUp(connection, request)),
    startWait: (connection, forMs) => api.startWait(connection, forMs),
  } satisfies CustomerApi & { mostInFlight: number };
  return counting;
}
