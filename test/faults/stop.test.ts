/**
 * F7: SIGTERM at every moment of a sync, twice, and while a request or the database never answers.
 * F8: SIGSTOP for longer than the lease, at every moment, while another process works, then SIGCONT.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import type { SandboxFault } from "../../src/local/sandbox-faults.ts";
import { insertAccount } from "../support/accounts.ts";
import { audit } from "../support/audit.ts";
import { eventually } from "../support/eventually.ts";
import { recordFault, recordSpeed } from "../support/evidence.ts";
import { untilAtRest } from "../support/queue-state.ts";
import {
  inWords,
  openScene,
  retryByHand,
  retryByHandLater,
  type Scene,
  type SpawnedDaemon,
  stateOf,
  untilClean,
} from "../support/scene.ts";
import { settleInTwoSteps } from "../support/settle-in-two-steps.ts";
import type { StatementGate } from "../support/statement-gate.ts";
import { FLAWLESS } from "../support/verdict.ts";

/** Without this much between them, a second signal counts as the echo of the first (src/ops/signals.ts). */
const ECHO_MS = 300;

/** Holds the daemon up somewhere; `release` lets it go on. */
type Stop = (scene: Scene, gate: StatementGate) => Stopped;
interface Stopped {
  readonly reached: Promise<unknown>;
  release(): void;
}

const before =
  (query: string): Stop =>
  (_, gate) =>
    gate.holdBefore(query);
const beforeCommit =
  (query: string): Stop =>
  (_, gate) =>
    gate.holdBeforeCommit(query);
const answerTo =
  (query: string): Stop =>
  (_, gate) =>
    gate.holdAnswer(query);
const during =
  (fault: SandboxFault): Stop =>
  ({ sandbox }) => {
    sandbox.setFaults({ next: [fault] });
    return { reached: inFlight(sandbox), release: () => {} };
  };

test("F7 told to leave at any moment: nothing new is begun, what is in flight is finished, and the next daemon need not wait", async () => {
  const moments: Record<string, { stop: Stop; isFinished: boolean }> = {
    // Not begun: given back.
    "M0 before the claim": { stop: before("claim_accounts"), isFinished: false },
    "M0 after the claim": { stop: answerTo("claim_accounts"), isFinished: false },
    "M0 before the load": { stop: before("load_accounts"), isFinished: true },
    "M1 before the attempt": { stop: before("journal_sends"), isFinished: true },
    "M2 attempt committed": { stop: answerTo("journal_sends"), isFinished: true },
    "M3 in flight": { stop: during({ delayMs: 1_500 }), isFinished: true },
    "M5 before the journal": { stop: before("lock_leases"), isFinished: true },
    "M6 journaled": { stop: answerTo("journal_answers"), isFinished: true },
    "M7 settled": { stop: answerTo("settle_accounts"), isFinished: true },
  };
  await using scene = await openScene();
  let daemon = await scene.start();
  await settleInTwoSteps(scene.database);
  const recoveries: number[] = [];

  for (const [position, [name, { stop, isFinished }]] of Object.entries(moments).entries()) {
    const [code, lateCode] = [`A-${position}`, `A-${position}-late`];
    const stopped = stop(scene, daemon.gate);
    const id = await insertAccount(scene.database, { accountNo: code });
    await stopped.reached;

    daemon.signal("SIGTERM");
    await daemon.waitForLine(/"msg":"draining/);
    const lateId = await insertAccount(scene.database, { accountNo: lateCode });
    stopped.release();
    const { code: exitCode } = await daemon.exit;

    expect(exitCode, name).toBe(0);
    expect(inWords(requestsOf(scene, code)), name).toEqual(isFinished ? ["create 201"] : []);
    expect(requestsOf(scene, lateCode), name).toEqual([]);
    expect(await leases(scene), name).toEqual([]);
    if (isFinished) expect(await stateOf(scene, id), name).toMatchObject({ state: "clean" });

    const next = await scene.spawn();
    daemon = await next.started();
    const startedAt = performance.now();
    await untilClean(scene, lateId);
    await untilClean(scene, id);
    expect(performance.now() - startedAt, name).toBeLessThan(5_000);
    recoveries.push(performance.now() - next.spawnedAt);
    expect(inWords(requestsOf(scene, code)), name).toEqual(["create 201"]);
    expect(inWords(requestsOf(scene, lateCode)), name).toEqual(["create 201"]);
  }

  await recordWell("F7", scene, recoveries);
});

test("F7 a request that never ends is given up at the drain deadline, and finished by the next daemon", async () => {
  await using scene = await openScene();
  const environment = { SYNC_SHUTDOWN_TIMEOUT_MS: "1500", CUSTOMER_API_UNKNOWN_OUTCOME: "resend" };
  const daemon = await scene.start(environment);
  scene.sandbox.setFaults({ next: [{ hang: true, applied: true }] });
  const id = await insertAccount(scene.database);
  await inFlight(scene.sandbox);

  const toldAt = performance.now();
  daemon.signal("SIGTERM");
  const { code } = await daemon.exit;
  const tookMs = performance.now() - toldAt;

  expect(code).toBe(0);
  expect(tookMs).toBeGreaterThanOrEqual(1_400);
  expect(tookMs).toBeLessThan(4_000);
  recordSpeed({
    what: "SIGTERM with a request that hangs, beyond the drain timeout",
    ms: tookMs - 1_500,
    withinMs: 2_500,
  });
  expect(await leases(scene)).toEqual([]);
  const next = await scene.start(environment);
  await untilClean(scene, id);
  const [first, second] = scene.requests();
  expect([second?.key, second?.text]).toEqual([first?.key, first?.text]);
  await recordWell("F7", scene, [performance.now() - next.spawnedAt]);
});

test("F7 a database that falls silent does not keep the process: it leaves soon after the drain deadline", async () => {
  await using scene = await openScene();
  const daemon = await scene.start({ SYNC_SHUTDOWN_TIMEOUT_MS: "1500" });
  const stopped = daemon.gate.holdBefore("journal_sends");
  const id = await insertAccount(scene.database);
  await stopped.reached;

  const toldAt = performance.now();
  daemon.signal("SIGTERM");
  await daemon.exit;
  const tookMs = performance.now() - toldAt;

  // The deadline, two seconds for what was aborted, three for closing, two for what cannot be closed: below a container's grace.
  expect(tookMs).toBeLessThan(1_500 + 7_000 + 1_000);
  recordSpeed({
    what: "SIGTERM while the database is silent, beyond the drain timeout",
    ms: tookMs - 1_500,
    withinMs: 8_000,
  });
  const next = await scene.start();
  await untilClean(scene, id);
  await recordWell("F7", scene, [performance.now() - next.spawnedAt]);
});

test("F7 a second SIGTERM leaves at once, whatever the first one waits for", async () => {
  const waits: Record<string, (scene: Scene) => Promise<SpawnedDaemon>> = {
    "a request that hangs": async (scene) => {
      const daemon = await scene.start();
      scene.sandbox.setFaults({ next: [{ hang: true }] });
      await insertAccount(scene.database, { accountNo: "A-hangs" });
      await inFlight(scene.sandbox);
      return daemon;
    },
    "a database that is silent": async (scene) => {
      const daemon = await scene.start();
      const stopped = daemon.gate.holdBefore("journal_sends");
      await insertAccount(scene.database, { accountNo: "A-silent" });
      await stopped.reached;
      return daemon;
    },
    "a migration that waits for its turn": async (scene) => {
      const daemon = await scene.spawn();
      await daemon.gate.holdBefore(/pg_advisory_lock/).reached;
      return daemon;
    },
  };
  await using scene = await openScene();
  const took: number[] = [];

  for (const [name, wait] of Object.entries(waits)) {
    const daemon = await wait(scene);
    daemon.signal("SIGTERM");
    await daemon.waitForLine(/draining|stopped before/);
    // The time itself is meant: a second signal within it counts as the echo of the first.
    await sleep(ECHO_MS);

    const toldAt = performance.now();
    daemon.signal("SIGTERM");
    const { code, signal } = await daemon.exit;
    took.push(performance.now() - toldAt);

    expect({ code, signal }, name).toEqual({ code: 1, signal: null });
    expect(took.at(-1), name).toBeLessThan(1_000);
    scene.sandbox.clearFaults();
  }
  recordSpeed({ what: "a second SIGTERM", ms: Math.max(...took), withinMs: 1_000 });

  // The next daemon finds what was under way.
  const next = await scene.start({ CUSTOMER_API_UNKNOWN_OUTCOME: "resend" });
  await untilAtRest(scene.database);
  await recordWell(
    "F7",
    scene,
    took.map(() => performance.now() - next.spawnedAt),
  );
});

/** A daemon whose process was stopped for longer than this has lost its accounts. */
const LEASE_MS = 2_000;

/** Longer than the other processes take to start on a slow machine: the faults are cleared before. */
const HELD_MS = 60_000;

type Policy = "resend" | "park";

/** Where the process is stopped, and the requests that are made in all. */
const pausesUnder = (
  policy: Policy,
): Readonly<Record<string, { readonly stop: Stop; readonly requests: readonly string[] }>> => ({
  // Nothing was journaled: the other one begins anew, and the sleeper notices that it may not send.
  "M1 before the attempt": { stop: before("journal_sends"), requests: ["create 201"] },
  // Journaled by the sleeper, which notices before the first byte; sent by the other one, or on request.
  "M2 attempt committed": { stop: answerTo("journal_sends"), requests: ["create 201"] },
  // Under way. Sent again under its key, it overlaps until the sleeper wakes up and aborts: the only case where that can happen. With
  // `park` no other process sends it again, and the sleeper waits for the answer and journals it.
  "M3 in flight":
    policy === "resend"
      ? {
          stop: during({ hang: true, applied: true }),
          requests: ["create no answer", "create 201"],
        }
      : { stop: during({ delayMs: 10_000 }), requests: ["create 201"] },
  // Answered, which only the sleeper knows.
  "M5 before the journal": {
    stop: before("lock_leases"),
    requests: policy === "resend" ? ["create 201", "create 201"] : ["create 201"],
  },
  // The other one writes the ids from the journal; the sleeper's write-back matches nothing.
  "M6 journaled": { stop: answerTo("journal_answers"), requests: ["create 201"] },
  // It holds the rows: the server ends its session, and its commit fails.
  "M6 before the commit": { stop: beforeCommit("settle_accounts"), requests: ["create 201"] },
});

test("F8 stopped for longer than the lease, at an API that honours keys: the other one finishes it, and who wakes up changes nothing", async () => {
  await playPauses("resend");
});

test("F8 stopped for longer than the lease, at an API that knows no keys: one create in all", async () => {
  await playPauses("park");
});

test("F8 stopped for longer than the lease while its token is on the way: the create is not begun any more", async () => {
  await using scene = await openScene({ honourKeys: false });
  const environment = { SYNC_LEASE_MS: String(LEASE_MS) };
  const sleeper = await scene.start(environment);
  scene.sandbox.setFaults({ next: [{ on: "token", delayMs: 1_000 }] });
  const id = await insertAccount(scene.database, { accountNo: "A-1" });
  await inFlight(scene.sandbox);
  sleeper.signal("SIGSTOP");
  const awake = await scene.start(environment);
  const startedAt = performance.now();
  await eventually(
    async () => expect(await stateOf(scene, id)).toMatchObject({ state: "parked" }),
    { timeoutMs: 20_000 },
  );
  const recoveryMs = performance.now() - startedAt;

  sleeper.signal("SIGCONT");
  await eventually(async () => expect(await sleeper.metric("leases_lost_total")).toBe(1), {
    timeoutMs: 20_000,
  });

  expect(requestsOf(scene, "A-1")).toEqual([]);
  await retryByHandLater(scene, awake, id);
  await untilClean(scene, id);
  expect(inWords(requestsOf(scene, "A-1"))).toEqual(["create 201"]);
  await recordWell("F8", scene, [recoveryMs]);
});

test("F8 a create whose sender cannot renew its lease is still waited for: a person's retry is not sent beside it", async () => {
  await using scene = await openScene({ honourKeys: false });
  const environment = { SYNC_LEASE_MS: String(LEASE_MS) };
  const cutOff = await scene.start(environment);
  scene.sandbox.setFaults({ next: [{ delayMs: HELD_MS }] });
  const id = await insertAccount(scene.database, { accountNo: "A-1" });
  await inFlight(scene.sandbox);
  // It may not claim the expired lease either: it would keep the account for one lease after another while its first send is under way.
  const held = ["renew_leases", "claim_accounts"].map((query) => cutOff.gate.holdBefore(query));
  const other = await scene.start(environment);
  const startedAt = performance.now();
  await eventually(
    async () => expect(await stateOf(scene, id)).toMatchObject({ state: "parked" }),
    { timeoutMs: 20_000 },
  );

  await retryByHand(other, id);
  await eventually(async () =>
    expect(await stateOf(scene, id)).toMatchObject({
      state: "retrying",
      error_class: "unknown_outcome",
    }),
  );
  expect(scene.sandbox.counts().inWork).toBe(1);
  scene.sandbox.clearFaults();
  for (const statement of held) statement.release();
  await untilClean(scene, id);

  expect(inWords(requestsOf(scene, "A-1"))).toEqual(["create 201"]);
  expect(scene.sandbox.counts().overlapping).toBe(0);
  await recordWell("F8", scene, [performance.now() - startedAt]);
});

async function playPauses(policy: Policy): Promise<void> {
  await using scene = await openScene({ honourKeys: policy === "resend" });
  const environment = {
    SYNC_LEASE_MS: String(LEASE_MS),
    CUSTOMER_API_UNKNOWN_OUTCOME: policy,
  };
  let sleeper = await scene.start(environment);
  await settleInTwoSteps(scene.database);
  const recoveries: number[] = [];
  let overlapping = 0;

  for (const [position, [name, pause]] of Object.entries(pausesUnder(policy)).entries()) {
    const code = `A-${position}`;
    const stopped = pause.stop(scene, sleeper.gate);
    const id = await insertAccount(scene.database, { accountNo: code });
    await stopped.reached;
    const leasesLost = await sleeper.metric("leases_lost_total");
    sleeper.signal("SIGSTOP");

    // Only now, so that it is the sleeper that has the account.
    const awake = await scene.start(environment);
    const startedAt = performance.now();
    await eventually(
      async () => expect((await stateOf(scene, id))?.state, name).toMatch(/clean|parked/),
      { timeoutMs: 20_000 },
    );
    recoveries.push(performance.now() - startedAt);
    const isOnTheWire = scene.sandbox.counts().inWork > 0;
    sleeper.signal("SIGCONT");
    stopped.release();

    // The sleeper has finished, and has counted the lost lease.
    await eventually(
      async () => expect(await sleeper.metric("leases_lost_total"), name).toBe(leasesLost + 1),
      { timeoutMs: 20_000 },
    );
    await eventually(() => expect(scene.sandbox.counts().inWork, name).toBe(0), {
      timeoutMs: 20_000,
    });
    // A late answer revives the account; without one it has to be retried by hand.
    if (name.startsWith("M2") && policy === "park") {
      expect(await stateOf(scene, id), name).toMatchObject({ error_class: "unknown_outcome" });
      expect(requestsOf(scene, code), name).toEqual([]);
      await retryByHandLater(scene, awake, id);
    }
    await untilClean(scene, id);

    const requests = requestsOf(scene, code);
    expect(inWords(requests), name).toEqual(pause.requests);
    expect(new Set(requests.map(({ key, text }) => `${key} ${text}`)).size, name).toBe(1);
    if (isOnTheWire && requests.length > 1) overlapping += 2;
    expect(scene.sandbox.counts().overlapping, name).toBe(overlapping);
    expect(await audit(scene.database, scene.sandbox), name).toEqual({ ...FLAWLESS, overlapping });

    await sleeper.kill();
    sleeper = awake;
  }
  // The one documented case, and only where the key makes it harmless.
  expect(overlapping).toBe(policy === "resend" ? 2 : 0);
  // Of all accounts, those of the earlier pauses included.
  recordFault("F8", await audit(scene.database, scene.sandbox), {
    tries: recoveries.length,
    recoveryMs: Math.max(...recoveries),
  });
}

async function inFlight(sandbox: Scene["sandbox"]): Promise<void> {
  await eventually(() => expect(sandbox.counts().inWork).toBe(1), { timeoutMs: 20_000 });
}

function requestsOf(scene: Scene, code: string) {
  return scene.requests().filter((request) => request.code === code);
}

async function leases({ database }: Scene): Promise<unknown[]> {
  return await database.query(
    "select account_id from account_sync.account where lease_token is not null",
  );
}

async function recordWell(
  fault: string,
  scene: Scene,
  recoveries: readonly number[],
): Promise<void> {
  const found = await audit(scene.database, scene.sandbox);
  expect(found).toEqual(FLAWLESS);
  recordFault(fault, found, { tries: recoveries.length, recoveryMs: Math.max(...recoveries) });
}
