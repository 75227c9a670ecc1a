/** Connections to the database that are killed at any moment. */
import { setTimeout as sleep } from "node:timers/promises";
import { beforeAll, beforeEach, expect, test } from "vitest";
import { createEngine, type Engine } from "../support/engine.ts";
import { eventually } from "../support/eventually.ts";
import { createFakeApi, type FakeApi } from "../support/fake-api.ts";

let engine: Engine;
let api: FakeApi;

beforeAll(async () => {
  engine = await createEngine();
});

beforeEach(async () => {
  await engine.reset();
  api = createFakeApi();
});

test("connections that are killed all the time cost no id and no second create", async () => {
  const accounts: string[] = [];
  for (let index = 0; index < 25; index += 1)
    accounts.push((await engine.insertAccount({ tiers: 1, pics: 1 })).id);
  const run = await engine.sync(api);
  let isOver = false;
  const killer = (async () => {
    while (!isOver) {
      const startedAt = performance.now();
      // Through a connection of its own: the sync's are called otherwise.
      await engine.query(
        `select pg_terminate_backend(pid) from pg_stat_activity
         where datname = current_database() and application_name = 'account-sync test' and random() < 0.5`,
      );
      // The server's transactions take real time. Most are hit in the middle and some come to their end, also where each takes ten times as
      // long.
      await sleep((15 + Math.random() * 30) * Math.max(1, (performance.now() - startedAt) / 3));
    }
  })();
  const worker = async () => {
    while (!isOver) {
      const claims = await engine.queue
        .fold()
        .then(() => engine.queue.claim(3))
        .catch(() => []);
      await Promise.all(
        claims.map((claim) =>
          run(claim).catch(() => engine.queue.release([claim]).catch(() => {})),
        ),
      );
      // What the database did not hear of runs out, as a short lease would.
      await engine.query(
        "update account_sync.account set due_at = now() where due_at < now() + interval '22 s'",
      );
      // As a dispatcher pauses; a busy loop would leave the server no time for the kills.
      await sleep(5);
    }
  };
  const workers = [worker(), worker(), worker()];

  try {
    await eventually(
      async () => {
        const rows = await engine.query("select from m_account where uuid_be is not null");
        expect(rows).toHaveLength(accounts.length);
      },
      { timeoutMs: 25_000 },
    );
  } finally {
    isOver = true;
    await Promise.all([killer, ...workers]);
  }

  const creates = api.requests.filter(({ operation }) => operation === "create");
  expect(new Set(creates.map(({ idempotencyKey }) => idempotencyKey)).size).toBe(accounts.length);
  expect(creates).toHaveLength(accounts.length);
  expect(
    await engine.query("select from account_sync.account where parked_at is not null"),
  ).toEqual([]);
}, 40_000);
