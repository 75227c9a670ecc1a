/**
 * F1 to F6: the process is killed at every moment of a sync, and started again at once.
 *
 * The process is held at the exact moment first: before or after a statement by the gate between it and the database, during the
 * request by the API. Each moment is tried with a create, an update, and an update that adds a tier; and with both policies:
 * `resend` at an API that honours keys, `park` at one that does not, where a second create would make a twin.
 */
import { expect, test } from "vitest";
import { externalIds, insertAccount } from "../support/accounts.ts";
import { audit } from "../support/audit.ts";
import { eventually } from "../support/eventually.ts";
import { recordFault } from "../support/evidence.ts";
import { untilAtRest } from "../support/queue-state.ts";
import {
  inWords,
  openScene,
  retryByHandLater,
  type Scene,
  type StartedDaemon,
  stateOf,
  untilClean,
} from "../support/scene.ts";
import { settleInTwoSteps } from "../support/settle-in-two-steps.ts";
import type { StatementGate } from "../support/statement-gate.ts";
import { FLAWLESS, type Verdict } from "../support/verdict.ts";

/** Another daemon, or the next start, has taken the account over by then, however long the lease. */
const RECOVERY_MAX_MS = 15_000;

type Work = "create" | "update" | "growth";
type Policy = "resend" | "park";
type Case = readonly [Work, Policy];
/** Stops the daemon there; resolves when it has stopped. */
type Moment = (scene: Scene, daemon: StartedDaemon) => Promise<void>;

/** Where it is known whether the API has the command, the policy does not matter. */
const EVERY_WORK: readonly Case[] = [
  ["create", "park"],
  ["update", "resend"],
  ["growth", "park"],
];
const EVERY_CASE: readonly Case[] = [
  ["create", "resend"],
  ["create", "park"],
  ["update", "resend"],
  ["update", "park"],
  ["growth", "resend"],
];

const before =
  (query: string): Moment =>
  (_, { gate }) =>
    gate.holdBefore(query).reached;
const beforeCommit =
  (query: string): Moment =>
  (_, { gate }) =>
    gate.holdBeforeCommit(query).reached;
const answerTo =
  (query: string): Moment =>
  (_, { gate }) =>
    gate.holdAnswer(query).reached;
/** The settling has failed, and the answer is journaled alone. */
const afterJournal =
  (hold: (gate: StatementGate) => { readonly reached: Promise<void> }): Moment =>
  async (_, { gate }) => {
    const journaled = gate.holdAnswer("journal_answers");
    await journaled.reached;
    const next = hold(gate);
    journaled.release();
    await next.reached;
  };
const during =
  (fault: { readonly applied: boolean }): Moment =>
  async ({ sandbox }) => {
    sandbox.setFaults({ next: [{ hang: true, ...fault }] });
    const applied = () => sandbox.history().filter((request) => request.applied).length;
    const before = applied();
    await eventually(
      () => {
        expect(sandbox.counts().inWork).toBe(1);
        expect(applied()).toBe(before + (fault.applied ? 1 : 0));
      },
      { timeoutMs: 20_000 },
    );
  };

test("F1 killed before anything was written down: the journal is read again, and one request is made", async () => {
  const moments: Record<string, Moment> = {
    "M0 before the fold": before("fold_changes"),
    "M0 after the claim": answerTo("claim_accounts"),
    "M0 before the load": before("load_accounts"),
    // One statement, and its commit.
    "M1 before the journal": before("journal_sends"),
  };

  const tries = await play(moments, EVERY_WORK.slice(0, 2), async (kill) => {
    expect(inWords(kill.requestsBefore), kill.name).toEqual([]);
    await untilClean(kill.scene, kill.id);
    expect(inWords(kill.requests()), kill.name).toEqual([onceDone(kill.work)]);
  });

  record("F1", tries);
});

test("F2 killed between the attempt's commit and its first byte: the same create goes out under its key, or a human is asked", async () => {
  const tries = await play(
    { "M2 committed": answerTo("journal_sends") },
    EVERY_CASE,
    async (kill) => {
      expect(inWords(kill.requestsBefore), kill.name).toEqual([]);
      const [journaled] = await kill.scene.database.query<{ key: string; body: string }>(
        "select idempotency_key as key, body from account_sync.attempt where account_id = $1 and settled_at is null",
        [kill.id],
      );

      if (kill.asksAHuman) await askAHuman(kill);
      await untilClean(kill.scene, kill.id);

      expect(inWords(kill.requests()), kill.name).toEqual([onceDone(kill.work)]);
      const [sent] = kill.requests();
      if (kill.work !== "update")
        expect({ key: sent?.key, body: sent?.text }, kill.name).toEqual(journaled);
    },
  );

  record("F2", tries);
});

test("F3 killed with the request in flight, taken or not: exactly one customer", async () => {
  const moments: Record<string, Moment> = {
    "M3 not applied": during({ applied: false }),
    "M4 applied": during({ applied: true }),
  };

  record("F3", await play(moments, EVERY_CASE, finishesTheUnknownSend));
});

test("F4 killed between the answer and the commit that journals it: as if the answer had never come", async () => {
  const moments: Record<string, Moment> = {
    "M5 before the settling": before("lock_leases"),
    "M5 before the answer is journaled": before("finish_attempts"),
    "M5 before the commit": beforeCommit("settle_accounts"),
  };

  record("F4", await play(moments, EVERY_CASE, finishesTheUnknownSend));
});

test("F5 killed after the answer was journaled: the ids are written and nothing is sent again", async () => {
  const moments: Record<string, Moment> = {
    "M6 journaled": answerTo("journal_answers"),
    "M6 before the ids are written": afterJournal((gate) => gate.holdBefore("lock_leases")),
    "M6 before the commit": afterJournal((gate) => gate.holdBeforeCommit("settle_accounts")),
  };

  const tries = await play(
    moments,
    EVERY_WORK,
    async (kill) => {
      expect(inWords(kill.requestsBefore), kill.name).toEqual([onceDone(kill.work)]);
      const total = kill.scene.sandbox.counts().total;
      await untilClean(kill.scene, kill.id);

      // Not even for a token.
      expect(kill.scene.sandbox.counts().total, kill.name).toBe(total);
    },
    { prepare: ({ database }) => settleInTwoSteps(database) },
  );

  record("F5", tries);
});

test("F6 killed when all was settled and the answer of the commit was lost: there is nothing left to do", async () => {
  const tries = await play(
    { "M7 settled": answerTo("settle_accounts") },
    EVERY_WORK,
    async (kill) => {
      const { database } = kill.scene;
      const rows = () =>
        database.query(
          `select 'account' as kind, id::text, xmin::text from m_account where id = $1
         union all select 'tier', id::text, xmin::text from m_account_package_tier where account_id = $1
         union all select 'pic', id::text, xmin::text from m_account_pic where account_id = $1
         union all select 'attempt', attempt_id::text, xmin::text from account_sync.attempt where account_id = $2`,
          [kill.id, kill.id],
        );
      const rowsBefore = await rows();
      expect(await stateOf(kill.scene, kill.id), kill.name).toMatchObject({ state: "clean" });

      // Anything that the next daemon does about the first account it has done by the time a second one is synced.
      await untilClean(
        kill.scene,
        await insertAccount(database, { accountNo: `${kill.code}-later` }),
      );

      expect(await rows(), kill.name).toEqual(rowsBefore);
      expect(inWords(kill.requests()), kill.name).toEqual([onceDone(kill.work)]);
    },
  );

  record("F6", tries);
});

test("F6 killed when a parent was settled and its child was not woken yet: the child goes out after the next start", async () => {
  await using scene = await openScene();
  // A child that is not woken is rechecked after five minutes.
  const environment = { SYNC_BACKOFF_MAX_MS: "900000" };
  const doomed = await scene.start(environment);
  const stopped = doomed.gate.holdBefore("wake_children").reached;
  scene.sandbox.setFaults({ next: [{ delayMs: 60_000 }] });
  const parent = await insertAccount(scene.database, { accountNo: "A-parent" });
  await eventually(() => expect(scene.sandbox.counts().inWork).toBe(1), { timeoutMs: 20_000 });
  const child = await insertAccount(scene.database, { accountNo: "A-child", parentId: parent });
  await eventually(async () =>
    expect(await stateOf(scene, child)).toMatchObject({ state: "blocked" }),
  );
  scene.sandbox.clearFaults();
  await stopped;
  expect(await stateOf(scene, parent)).toMatchObject({ state: "clean" });
  expect(await stateOf(scene, child)).toMatchObject({ state: "blocked" });

  await doomed.kill();
  const next = await scene.spawn(environment);
  await next.started();
  const startedAt = performance.now();
  await untilClean(scene, child);

  expect(performance.now() - startedAt).toBeLessThan(RECOVERY_MAX_MS);
  expect(inWords(scene.requests())).toEqual(["create 201", "create 201"]);
  const found = await audit(scene.database, scene.sandbox);
  expect(found).toEqual(FLAWLESS);
  record("F6", [{ verdict: found, recoveryMs: performance.now() - next.spawnedAt }]);
});

/** F3 and F4: it is not known whether the API has the create, and it must have it once. */
async function finishesTheUnknownSend(kill: Kill): Promise<void> {
  expect(kill.requestsBefore, kill.name).toHaveLength(1);
  const isApplied = kill.requestsBefore[0]?.applied ?? false;

  if (kill.asksAHuman) await askAHuman(kill);
  await untilClean(kill.scene, kill.id);

  const [first, second, ...others] = kill.requests();
  expect(others, kill.name).toEqual([]);
  expect(second?.status, kill.name).toBeLessThan(300);
  // An update if the customer was found and its id set; else the same create again.
  const isFound = kill.asksAHuman && isApplied;
  expect(second?.operation, kill.name).toBe(
    kill.work === "create" && !isFound ? "create" : "update",
  );
  // An update that adds nothing may be overtaken by a newer one.
  if (kill.work !== "update" && !isFound)
    expect([second?.key, second?.text], kill.name).toEqual([first?.key, first?.text]);
}

/** The account is parked, and shows; a person looks the customer up, sets its id if it is there, and retries. */
async function askAHuman(kill: Kill): Promise<void> {
  const { scene, id, next } = kill;
  await eventually(
    async () =>
      expect(await stateOf(scene, id), kill.name).toEqual({
        state: "parked",
        error_class: "unknown_outcome",
      }),
    { timeoutMs: RECOVERY_MAX_MS },
  );
  kill.isWell();
  // The metrics that alerts.yml uses.
  await eventually(async () => {
    expect(await next.metric("unknown_outcomes_total"), kill.name).toBe(1);
    expect(await next.metric("pending_accounts", { state: "parked" }), kill.name).toBe(1);
  });
  expect(kill.requests(), kill.name).toHaveLength(kill.requestsBefore.length);
  expect((await externalIds(scene.database, id)).account, kill.name).toBeNull();

  const customer = scene.sandbox.customers().find(({ code }) => code === kill.code);
  if (customer !== undefined)
    await scene.database.query("update m_account set uuid_be = $2 where id = $1", [
      id,
      customer.id,
    ]);
  await retryByHandLater(scene, next, id);
}

interface Kill {
  readonly name: string;
  readonly scene: Scene;
  readonly work: Work;
  /** The account's number, by which the API knows it. */
  readonly code: string;
  readonly id: string;
  /** A create that has begun is repeated only on request. */
  readonly asksAHuman: boolean;
  /** For this work, until the kill. */
  readonly requestsBefore: ReturnType<Scene["requests"]>;
  /** For this work, until now. */
  readonly requests: Scene["requests"];
  /** The daemon that was started afterwards. */
  readonly next: StartedDaemon;
  /** The daemon has recovered: what a person does afterwards is not counted. */
  isWell(): void;
}

interface Try {
  readonly verdict: Verdict;
  readonly recoveryMs: number;
}

/** Kills a daemon at each of the moments in each of the cases; `assess` checks what the next one does. */
async function play(
  moments: Readonly<Record<string, Moment>>,
  cases: readonly Case[],
  assess: (kill: Kill) => Promise<void>,
  { prepare = async () => {} }: { readonly prepare?: (scene: Scene) => Promise<void> } = {},
): Promise<Try[]> {
  const kills = Object.entries(moments).flatMap(([moment, stopAt]) =>
    cases.map(([work, policy]) => ({
      name: `${moment}, ${work}, ${policy}`,
      stopAt,
      work,
      policy,
    })),
  );
  // Side by side, as most of the time is waiting for leases to run out.
  const chains = [...Map.groupBy(kills, ({ policy }) => policy)].flatMap(([policy, all]) => {
    const half = Math.ceil(all.length / 2);
    return [all.slice(0, half), all.slice(half)].map((chain) => ({ policy, chain }));
  });
  return (await Promise.all(chains.map(playChain))).flat();

  /** The daemon that recovered is the next one to be killed. */
  async function playChain({
    policy,
    chain,
  }: {
    readonly policy: Policy;
    readonly chain: typeof kills;
  }): Promise<Try[]> {
    if (chain.length === 0) return [];
    await using scene = await openScene({ honourKeys: policy === "resend" });
    const environment = { CUSTOMER_API_UNKNOWN_OUTCOME: policy };
    let daemon = await scene.start(environment);
    await prepare(scene);
    const tries: Try[] = [];

    for (const [position, { name, stopAt, work }] of chain.entries()) {
      const code = `A-${position}`;
      const ofAccount = () => scene.requests().filter((request) => request.code === code);
      const known =
        work === "create" ? null : await insertAccount(scene.database, { accountNo: code });
      if (known !== null) await untilClean(scene, known);
      const skip = ofAccount().length;

      const stopped = stopAt(scene, daemon);
      const id = known ?? (await insertAccount(scene.database, { accountNo: code }));
      if (work === "update") await rename(scene, id);
      if (work === "growth") await addTier(scene, id);
      await stopped;
      await daemon.kill();

      const requests = () => ofAccount().slice(skip);
      const requestsBefore = requests();
      scene.sandbox.clearFaults();
      const next = await scene.spawn(environment);
      daemon = await next.started();
      const startedAt = performance.now();
      let wellAt: number | null = null;
      const isWell = () => {
        wellAt ??= performance.now();
      };
      await assess({
        name,
        scene,
        work,
        code,
        id,
        asksAHuman: work === "create" && policy === "park",
        requestsBefore,
        requests,
        next: daemon,
        isWell,
      });
      isWell();

      await untilAtRest(scene.database);
      const found = await audit(scene.database, scene.sandbox);
      expect(found, name).toEqual(FLAWLESS);
      // Without the start of the process, whose duration depends on the machine.
      expect(Number(wellAt) - startedAt, name).toBeLessThan(RECOVERY_MAX_MS);
      tries.push({ verdict: found, recoveryMs: Number(wellAt) - next.spawnedAt });
    }
    return tries;
  }
}

async function rename({ database }: Scene, id: string): Promise<void> {
  await database.query("update m_account set name = 'Toko Baru' where id = $1", [id]);
}

async function addTier({ database }: Scene, id: string): Promise<void> {
  await database.query(
    `insert into m_account_package_tier (account_id, min_value, max_value, amount, start_date, end_date)
     values ($1, 9000, 10000, 1, '2026-01-01', '2026-12-31')`,
    [id],
  );
}

function onceDone(work: Work): string {
  return work === "create" ? "create 201" : "update 200";
}

function record(fault: string, tries: readonly Try[]): void {
  const verdicts = tries.map(({ verdict }) => verdict);
  const recoveryMs = Math.max(...tries.map((one) => one.recoveryMs));
  recordFault(fault, verdicts, { tries: tries.length, recoveryMs });
}
