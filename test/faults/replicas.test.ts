/** F9: several processes on one database, from the first migration on; one of them dies, and another one, or its own restart, takes over. */
import { expect, test } from "vitest";
import { insertAccount, insertAccounts } from "../support/accounts.ts";
import { audit } from "../support/audit.ts";
import { eventually } from "../support/eventually.ts";
import { recordFault, recordSpeed } from "../support/evidence.ts";
import { untilAtRest } from "../support/queue-state.ts";
import { openScene, type Scene, type SpawnedDaemon, stateOf } from "../support/scene.ts";
import { FLAWLESS } from "../support/verdict.ts";

const RESEND = { CUSTOMER_API_UNKNOWN_OUTCOME: "resend" };

/** How long a dead daemon's accounts may wait for another daemon, and for its own restart. */
const TAKEN_OVER_WITHIN_MS = 15_000;
const RESTARTED_WITHIN_MS = 5_000;

test.for([2, 3])(
  "F9 %i daemons started together on a fresh database: it is migrated once, all come up, and each account is in one of them",
  async (count) => {
    await using scene = await openScene();
    scene.sandbox.setFaults({ always: { delayMs: 20 } });

    const spawnedAt = performance.now();
    const spawned = await Promise.all(
      Array.from({ length: count }, () => scene.spawn({ SYNC_CONCURRENCY: "4" })),
    );
    const daemons = await Promise.all(spawned.map((daemon) => daemon.started()));
    recordSpeed({
      what: `${count} daemons started together on a fresh database, all up`,
      ms: performance.now() - spawnedAt,
      withinMs: 60_000,
    });
    for (const { url } of daemons) expect((await fetch(`${url}/readyz`)).status).toBe(200);
    await insertAccounts(scene.database, 200);
    await untilAtRest(scene.database, 60_000);

    const migrations = await scene.database.query<{ id: number; count: number }>(
      "select id, count(*)::int as count from account_sync.migrations group by id order by id",
    );
    expect(migrations.length).toBeGreaterThan(1);
    expect(migrations).toEqual(migrations.map((_, id) => ({ id, count: 1 })));
    expect(scene.sandbox.counts().byOperation).toMatchObject({ create: 200, update: 0 });
    const synced = await Promise.all(
      daemons.map((daemon) => daemon.metric("runs_total", { outcome: "synced" })),
    );
    expect(synced.reduce((sum, one) => sum + one)).toBe(200);
    for (const one of synced) expect(one).toBeGreaterThan(0);
    await recordFlawless(scene, count, null);
  },
);

test("F9 one of two daemons is killed with all its slots full: the other one takes its accounts over within 15 s", async () => {
  await using scene = await openScene();
  const doomed = await scene.start(RESEND);
  const ids = await insertInFlight(scene);
  await scene.start(RESEND);

  await doomed.kill();
  const killedAt = performance.now();
  scene.sandbox.clearFaults();
  await untilClean(scene, ids);

  const tookMs = performance.now() - killedAt;
  expect(tookMs).toBeLessThan(TAKEN_OVER_WITHIN_MS);
  recordSpeed({
    what: "a dead daemon's accounts taken over by another one and synced",
    ms: tookMs,
    withinMs: TAKEN_OVER_WITHIN_MS,
  });
  await recordFlawless(scene, ids.length, tookMs);
});

test("F9 the only daemon is killed with all its slots full: its own restart has synced its accounts within 5 s", async () => {
  await using scene = await openScene();
  const doomed = await scene.start(RESEND);
  const ids = await insertInFlight(scene);

  await doomed.kill();
  scene.sandbox.clearFaults();
  const next = await scene.spawn(RESEND);
  await next.started();
  const startedAt = performance.now();
  await untilClean(scene, ids);

  // Without the start of the process, whose duration depends on the machine; it is printed.
  const tookMs = performance.now() - startedAt;
  expect(tookMs).toBeLessThan(RESTARTED_WITHIN_MS);
  recordSpeed({
    what: `a dead daemon's accounts synced after its own restart (${Math.round(startedAt - next.spawnedAt)} ms to come up)`,
    ms: tookMs,
    withinMs: RESTARTED_WITHIN_MS,
  });
  await recordFlawless(scene, ids.length, performance.now() - next.spawnedAt);
});

test("F9 killed one after the other in the middle of a backlog: every account once, with its own ids", async () => {
  await using scene = await openScene();
  scene.sandbox.setFaults({ always: { delayMs: 15 } });
  const environment = { ...RESEND, SYNC_CONCURRENCY: "4" };
  const daemons = await Promise.all([scene.start(environment), scene.start(environment)]);
  await insertAccounts(scene.database, 300);

  const next: SpawnedDaemon[] = [];
  for (const [position, doomed] of daemons.entries()) {
    await eventually(
      () => expect(scene.sandbox.customers().length).toBeGreaterThan(50 * (position + 1)),
      { timeoutMs: 30_000, intervalMs: 3 },
    );
    await doomed.kill();
    next.push(await scene.spawn(environment));
  }
  const killedAt = performance.now();
  for (const daemon of next) await daemon.started();
  await untilAtRest(scene.database, 60_000);

  expect(scene.sandbox.customers()).toHaveLength(300);
  await recordFlawless(scene, daemons.length, performance.now() - killedAt);
});

/** As many accounts as a daemon has slots, each with a request that the API does not answer. */
async function insertInFlight(scene: Scene): Promise<string[]> {
  const slots = 16;
  scene.sandbox.setFaults({ always: { hang: true } });
  const ids: string[] = [];
  for (let n = 0; n < slots; n += 1)
    ids.push(await insertAccount(scene.database, { accountNo: `A-${n}`, tiers: 1, pics: 1 }));
  await eventually(() => expect(scene.sandbox.counts().inWork).toBe(slots), { timeoutMs: 20_000 });
  return ids;
}

async function untilClean(scene: Scene, ids: readonly string[]): Promise<void> {
  for (const id of ids)
    await eventually(
      async () => expect(await stateOf(scene, id)).toMatchObject({ state: "clean" }),
      {
        timeoutMs: 30_000,
      },
    );
}

async function recordFlawless(scene: Scene, tries: number, recoveryMs: number | null) {
  const found = await audit(scene.database, scene.sandbox);
  expect(found).toEqual(FLAWLESS);
  recordFault("F9", found, { tries, recoveryMs });
}
