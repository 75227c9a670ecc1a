/**
 * F57: accounts are claimed, loaded and journaled ahead of the requests (src/queue/request-slots.ts). The daemon is killed, told to leave or
 * stopped, the rows are edited, or the API goes away, while many accounts wait loaded in front of a few requests.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { insertAccounts } from "../support/accounts.ts";
import { audit } from "../support/audit.ts";
import { eventually } from "../support/eventually.ts";
import { recordFault, recordSpeed } from "../support/evidence.ts";
import type { Explanation } from "../support/explanation.ts";
import { countStates, mostWithin, retryAll, untilAtRest } from "../support/queue-state.ts";
import { openScene, type Scene, type StartedDaemon } from "../support/scene.ts";
import { startTcpProxy } from "../support/tcp-proxy.ts";
import { FLAWLESS, type Verdict } from "../support/verdict.ts";

const ACCOUNTS = 300;

/** Longer than any of these tests: the answers come when the faults are cleared. */
const HELD = { delayMs: 100_000 };

/** Longer than the requests are held, so that none of them ends by itself. */
const PATIENT = { CUSTOMER_API_TIMEOUT_MS: "100000" };

/** Loaded, and not in flight: fewer would not tell what is loaded ahead from what the slots take anyway. */
const AHEAD_MIN = 10;

type Policy = "resend" | "park";

const CASES: readonly (readonly [number, Policy])[] = [
  [4, "park"],
  [16, "resend"],
];

test.for(CASES)(
  "F57 killed with accounts loaded ahead of %i requests, %s: few creates are in doubt, and every account arrives",
  async ([concurrency, policy]) => {
    await using scene = await openScene({ honourKeys: policy === "resend" });
    const environment = settingsFor(concurrency, policy);
    const doomed = await scene.start(environment);
    await insertAccounts(scene.database, ACCOUNTS);
    const ahead = await holdWithManyAhead(scene, concurrency);

    await doomed.kill();
    const inDoubt = await sendingAccounts(scene);
    // What was in flight takes effect, and nobody hears of it.
    scene.sandbox.clearFaults();
    const next = await scene.spawn(environment);
    const daemon = await next.started();
    if (policy === "park") await decideWhatIsInDoubt(scene, daemon, inDoubt);
    await untilAtRest(scene.database, 60_000);

    expect(inDoubt.length).toBeGreaterThanOrEqual(concurrency);
    expect(inDoubt.length).toBeLessThanOrEqual(admittedMax(scene, concurrency));
    expect(new Set(ahead.journaled)).toEqual(new Set(inDoubt));
    expect(scene.sandbox.customers()).toHaveLength(ACCOUNTS);
    await recordFlawless(scene, ahead.loaded.length, performance.now() - next.spawnedAt);
  },
);

test("F57 killed at full speed: what is in doubt is no more than was at work, a person is asked about it, and every account arrives", async () => {
  const concurrency = 16;
  await using scene = await openScene({ honourKeys: false });
  const environment = settingsFor(concurrency, "park");
  const doomed = await scene.start(environment);
  await insertAccounts(scene.database, ACCOUNTS);
  await untilApplied(scene, ACCOUNTS / 3);

  await doomed.kill();
  const inDoubt = await sendingAccounts(scene);
  const next = await scene.spawn(environment);
  const daemon = await next.started();
  await decideWhatIsInDoubt(scene, daemon, inDoubt);
  await untilAtRest(scene.database, 60_000);

  // Those that were answered are in doubt, too, until they are settled.
  const atWorkMax = admittedMax(scene, concurrency) + Math.ceil(1.5 * mostEnded(scene));
  expect(inDoubt.length).toBeLessThanOrEqual(atWorkMax);
  expect(scene.sandbox.customers()).toHaveLength(ACCOUNTS);
  await recordFlawless(scene, inDoubt.length, performance.now() - next.spawnedAt);
});

/** What a daemon that leaves gives back is free within this, long before the end of its lease. */
const FREE_WITHIN_MS = 1_000;

test.for([4, 16])(
  "F57 told to leave with accounts loaded ahead of %i requests: these are finished, the others are given back at once and count as no attempt",
  async (concurrency) => {
    await using scene = await openScene();
    const environment = settingsFor(concurrency, "park");
    const leaving = await scene.start(environment);
    await insertAccounts(scene.database, ACCOUNTS);
    const ahead = await holdWithManyAhead(scene, concurrency);
    const other = await scene.spawn(settingsFor(64, "park"));
    // It may not take anything before what is given back has been seen.
    const claim = other.gate.holdBefore("claim_accounts");
    await other.started();

    leaving.signal("SIGTERM");
    await leaving.waitForLine(/"msg":"draining/);
    const toldAt = performance.now();
    const journaled = new Set(ahead.journaled);
    const givenBack = ahead.loaded.filter((id) => !journaled.has(id));
    await eventually(
      async () => {
        const { loaded } = await leasedAccounts(scene);
        expect(loaded.filter((id) => !journaled.has(id))).toEqual([]);
      },
      { intervalMs: 5 },
    );
    const freeAfterMs = performance.now() - toldAt;

    // Only new requests are answered: the other daemon works while what is in flight is still waited for.
    scene.sandbox.setFaults({});
    claim.release();
    await untilClean(scene, givenBack, FREE_WITHIN_MS * 10);
    expect(scene.sandbox.counts().inWork).toBe(concurrency);
    scene.sandbox.clearFaults();
    const { code } = await leaving.exit;
    await untilAtRest(scene.database);

    expect(code).toBe(0);
    expect(givenBack.length).toBeGreaterThanOrEqual(AHEAD_MIN);
    expect(freeAfterMs).toBeLessThan(FREE_WITHIN_MS);
    // Of every account there is one request and one attempt, and it was answered.
    expect(scene.requests().map(({ status }) => status)).toEqual(Array(ACCOUNTS).fill(201));
    expect(await outcomesOf(scene, ahead.loaded)).toEqual({ synced: ahead.loaded.length });
    expect(
      await scene.database.query("select from account_sync.status where attempts > 0"),
    ).toEqual([]);
    recordSpeed({
      what: "accounts loaded ahead given back at SIGTERM",
      ms: freeAfterMs,
      withinMs: FREE_WITHIN_MS,
    });
    await recordFlawless(scene, givenBack.length, freeAfterMs);
  },
);

test("F57 told to leave while accounts are being loaded: those that would have to wait for a request are given back, too", async () => {
  const concurrency = 4;
  await using scene = await openScene();
  const leaving = await scene.start(settingsFor(concurrency, "park"));
  await insertAccounts(scene.database, ACCOUNTS);
  const { loaded, release } = await holdLoadOfMany(scene, leaving);
  // The time itself is meant: by then the pace of before is forgotten, by which more would be admitted.
  await sleep(300);
  // So slow that none of them ends before all have been loaded.
  scene.sandbox.setFaults({ always: { delayMs: 2_000 } });
  const heard = scene.requests().length;

  leaving.signal("SIGTERM");
  await leaving.waitForLine(/"msg":"draining/);
  release();
  const { code } = await leaving.exit;
  const sent = scene.requests().length - heard;
  scene.sandbox.clearFaults();
  const next = await scene.spawn(settingsFor(concurrency, "park"));
  await next.started();
  await untilAtRest(scene.database, 60_000);

  expect(code).toBe(0);
  // Half as many again as there are slots.
  expect(sent).toBeLessThanOrEqual(1.5 * concurrency);
  expect(scene.requests()).toHaveLength(ACCOUNTS);
  await recordFlawless(scene, loaded.length - sent, performance.now() - next.spawnedAt);
});

/** Holds the load of many accounts, when all that was loaded before is sent and settled. */
async function holdLoadOfMany(scene: Scene, { gate }: StartedDaemon) {
  for (let tries = 1; ; tries += 1) {
    await untilManyAreLoadedAhead(scene);
    const load = gate.holdBefore("load_accounts");
    await load.reached;
    await eventually(async () => {
      expect(scene.sandbox.counts().inWork).toBe(0);
      expect((await leasedAccounts(scene)).journaled).toEqual([]);
    });
    const { loaded } = await leasedAccounts(scene);
    if (loaded.length >= AHEAD_MIN) return { loaded, release: () => load.release() };
    if (tries === 5) throw new Error(`no more than ${loaded.length} accounts were being loaded`);
    load.release();
  }
}

const LEASE = { SYNC_LEASE_MS: "2000" };

test.for(CASES)(
  "F57 stopped for longer than the lease with accounts loaded ahead of %i requests, %s: another one does its work, and who wakes up sends none of it",
  async ([concurrency, policy]) => {
    await using scene = await openScene({ honourKeys: policy === "resend" });
    const environment = { ...settingsFor(concurrency, policy), ...LEASE };
    const sleeper = await scene.start(environment);
    await insertAccounts(scene.database, ACCOUNTS);
    const ahead = await holdWithManyAhead(scene, concurrency);

    sleeper.signal("SIGSTOP");
    // With `resend` a request that is still under way may be sent again beside it: F8. Here it is about what was not sent.
    if (policy === "resend") scene.sandbox.clearFaults();
    else scene.sandbox.setFaults({});
    const awake = await scene.start(environment);
    const journaled = new Set(ahead.journaled);
    const notJournaled = ahead.loaded.filter((id) => !journaled.has(id));
    const stoppedAt = performance.now();
    await untilClean(scene, notJournaled);
    const recoveryMs = performance.now() - stoppedAt;
    if (policy === "park")
      await eventually(async () =>
        expect(await parkedAccounts(scene)).toEqual(ahead.journaled.toSorted()),
      );
    const requestsBefore = requestsOf(scene, await codesOf(scene, notJournaled)).length;

    sleeper.signal("SIGCONT");
    scene.sandbox.clearFaults();
    await eventually(
      async () =>
        expect(await sleeper.metric("leases_lost_total")).toBeGreaterThanOrEqual(
          notJournaled.length,
        ),
      { timeoutMs: 20_000 },
    );
    if (policy === "park") await retryWhatIsParked(scene, awake);
    await untilAtRest(scene.database, 60_000);

    expect(requestsOf(scene, await codesOf(scene, notJournaled))).toHaveLength(requestsBefore);
    expect(requestsBefore).toBe(notJournaled.length);
    expect(scene.sandbox.customers()).toHaveLength(ACCOUNTS);
    await recordFlawless(scene, notJournaled.length, recoveryMs);
  },
);

/** How what was loaded is kept from being sent, until `release`. */
type Hold = (
  scene: Scene,
  daemon: StartedDaemon,
) => Promise<{ readonly loaded: readonly string[]; release(): void }>;

const HOLDS: Readonly<Record<string, Hold>> = {
  "the requests": async (scene) => {
    const { loaded } = await holdWithManyAhead(scene, 4);
    return { loaded, release: () => scene.sandbox.clearFaults() };
  },
  "the journal": async (scene, { gate }) => {
    await untilManyAreLoadedAhead(scene);
    const journal = gate.holdBefore("journal_sends");
    await journal.reached;
    const { loaded } = await leasedAccounts(scene);
    return { loaded, release: () => journal.release() };
  },
};

test.each(Object.entries(HOLDS))(
  "F57 rows edited between load and send, with %s held: at most one old command of each account, and its successor",
  async (_, hold) => {
    await using scene = await openScene();
    const daemon = await scene.start(settingsFor(4, "park"));
    const rounds = [
      {
        isDue: () => insertAccounts(scene.database, ACCOUNTS),
        edit: "name = name || ' Baru'",
      },
      {
        // Whether an account is active is sent along with its bank account.
        isDue: () =>
          scene.database.query(
            `with bank as (insert into m_bank (name, uuid_be) values ('Bank Contoh', 'ext-bank-001') returning id)
             insert into m_account_bank (account_id, bank_id, bank_account_no, bank_account_holder_name)
             select a.id, bank.id, '0000000001', 'Maju Mundur' from m_account a, bank`,
          ),
        edit: "is_active = false",
      },
    ];
    const recoveries: number[] = [];
    let editedAhead = 0;

    for (const { isDue, edit } of rounds) {
      const heard = scene.requests().length;
      await isDue();
      const { loaded, release } = await hold(scene, daemon);
      await scene.database.query(`update m_account set ${edit}`);
      const editedAt = performance.now();
      release();
      await untilAtRest(scene.database, 60_000);
      recoveries.push(performance.now() - editedAt);
      editedAhead += loaded.length;

      const requests = scene.requests().slice(heard);
      const perAccount = [...Map.groupBy(requests, ({ code }) => code).values()];
      expect(perAccount).toHaveLength(ACCOUNTS);
      expect(Math.max(...perAccount.map((ofOne) => ofOne.length)), edit).toBe(2);
      // Those that were loaded after the edit have one; of the others the second has what the first had not.
      const repeated = perAccount.filter(
        ([first, second]) => second !== undefined && sameData(first?.text, second.text),
      );
      expect(repeated, edit).toEqual([]);
      expect(await audit(scene.database, scene.sandbox), edit).toEqual(FLAWLESS);
    }

    await recordFlawless(scene, editedAhead, Math.max(...recoveries));
  },
);

/** Without the account's own ids, of which a create has none yet. */
function sameData(first = "", second = ""): boolean {
  const data = (text: string) => {
    const { id: _, branch, ...rest } = JSON.parse(text);
    return JSON.stringify({ ...rest, branch: { ...branch, id: null } });
  };
  return data(first) === data(second);
}

test("F57 accounts deleted between load and send, ON_ACCOUNT_DELETE=delete: none of their customers is left", async () => {
  await using scene = await openScene();
  await scene.start({ ...settingsFor(4, "park"), ON_ACCOUNT_DELETE: "delete" });
  await insertAccounts(scene.database, ACCOUNTS);
  const { loaded } = await holdWithManyAhead(scene, 4);

  await scene.database.query("delete from m_account where id::text = any($1)", [loaded]);
  scene.sandbox.clearFaults();
  const recoveryMs = await untilAtRest(scene.database, 60_000);

  expect(scene.sandbox.customers()).toHaveLength(ACCOUNTS - loaded.length);
  await recordFlawless(scene, loaded.length, recoveryMs);
});

test("F57 accounts deleted between load and send: the ids of their customers are kept, and nothing more is sent", async () => {
  await using scene = await openScene();
  await scene.start(settingsFor(4, "park"));
  await insertAccounts(scene.database, ACCOUNTS);
  const { loaded } = await holdWithManyAhead(scene, 4);
  const codes = await codesOf(scene, loaded);

  await scene.database.query("delete from m_account where id::text = any($1)", [loaded]);
  scene.sandbox.clearFaults();
  const recoveryMs = await untilAtRest(scene.database, 60_000);

  const because = "ON_ACCOUNT_DELETE is ignore, so the customer of a deleted account stays";
  const explained: Explanation = { accounts: [...codes], are: "removed", because };
  const kept = await scene.database.query<{ customer: string }>(
    "select received ->> 'customer' as customer from account_sync.attempt where account_id = any($1) and received is not null",
    [loaded],
  );
  const made = scene.sandbox.customers().filter(({ code }) => codes.has(code));
  expect(kept.map(({ customer }) => customer).toSorted()).toEqual(
    made.map(({ id }) => id).toSorted(),
  );
  expect(requestsOf(scene, codes)).toHaveLength(loaded.length);
  const found = await audit(scene.database, scene.sandbox, [explained]);
  expect(found).toEqual({ ...FLAWLESS, explained: { [`removed: ${because}`]: loaded.length } });
  recordFault("F57", found, { tries: loaded.length, recoveryMs });
});

test("F57 ids cleared by hand between load and update: they are put back, and no request is added", async () => {
  await using scene = await openScene();
  await scene.start(settingsFor(4, "park"));
  await insertAccounts(scene.database, ACCOUNTS);
  await untilAtRest(scene.database);
  await scene.database.query("update m_account set name = name || ' Baru'");
  const { loaded } = await holdWithManyAhead(scene, 4);

  await scene.database.query("update m_account set uuid_be = null where id::text = any($1)", [
    loaded,
  ]);
  scene.sandbox.clearFaults();
  const recoveryMs = await untilAtRest(scene.database, 60_000);

  expect(scene.sandbox.counts().byOperation).toMatchObject({ create: ACCOUNTS, update: ACCOUNTS });
  await recordFlawless(scene, loaded.length, recoveryMs);
});

test("F57 ids set by hand between load and create stay as the person left them, and each conflict is counted", async () => {
  await using scene = await openScene();
  const daemon = await scene.start(settingsFor(4, "park"));
  await insertAccounts(scene.database, ACCOUNTS);
  const { loaded } = await holdWithManyAhead(scene, 4);
  const codes = await codesOf(scene, loaded);

  await scene.database.query(
    "update m_account set uuid_be = 'by-hand-' || account_no where id::text = any($1)",
    [loaded],
  );
  scene.sandbox.clearFaults();
  const recoveryMs = await untilAtRest(scene.database, 60_000);

  const byHand = await scene.database.query(
    "select from m_account where uuid_be = 'by-hand-' || account_no",
  );
  expect(byHand).toHaveLength(loaded.length);
  expect(await daemon.metric("id_conflicts_total")).toBe(loaded.length);
  expect(scene.requests()).toHaveLength(ACCOUNTS);
  const because = "a person's edit of ids between load and send is kept";
  const found = await audit(scene.database, scene.sandbox, [
    { accounts: [...codes], are: "other ids", because },
  ]);
  expect(found).toEqual({ ...FLAWLESS, explained: { [`other ids: ${because}`]: loaded.length } });
  recordFault("F57", found, { tries: loaded.length, recoveryMs });
});

/** Outages in a row that open the circuit. */
const OUTAGES_TO_OPEN = 5;

test.for([4, 16])(
  "F57 the API goes away with accounts loaded ahead of %i requests: only probes are sent, no attempt is used up, and all arrive when it is back",
  async (concurrency) => {
    await using scene = await openScene({ honourKeys: false });
    const proxy = await startTcpProxy(Number(new URL(scene.sandbox.url).port));
    const daemon = await scene.start({
      ...settingsFor(concurrency, "park"),
      CUSTOMER_API_URL: `http://127.0.0.1:${proxy.port}`,
      CUSTOMER_API_CLIENT_ID: "",
      CUSTOMER_API_CLIENT_SECRET: "",
      CUSTOMER_API_TOKEN: scene.sandbox.staticToken,
    });
    await insertAccounts(scene.database, ACCOUNTS);
    const ahead = await holdWithManyAhead(scene, concurrency);
    const heard = scene.requests().length;

    await proxy.refuse();
    proxy.cut();
    await eventually(async () =>
      expect(await daemon.metric("circuit_state", { state: "open" })).toBe(1),
    );
    const openedAt = performance.now();
    const triedBefore = await triesOf(daemon);
    // Probes go on, and all that was loaded ahead has been put off meanwhile.
    await eventually(async () => {
      expect(await triesOf(daemon)).toBeGreaterThanOrEqual(triedBefore + 5);
      expect((await leasedAccounts(scene)).loaded.length).toBeLessThanOrEqual(1);
    });
    const openForMs = performance.now() - openedAt;
    const tried = await triesOf(daemon);
    const refused = await daemon.metric("api_requests_total", { result: "network" });
    const cutOff = await parkedAccounts(scene);

    // Those that the open circuit met in flight, one that opened it beside each of them, and a probe each quarter of a second afterwards.
    expect(tried - heard).toBeLessThanOrEqual(
      OUTAGES_TO_OPEN + 2 * concurrency + Math.ceil(openForMs / 25),
    );
    expect(cutOff.length).toBeLessThanOrEqual(concurrency);
    expect(cutOff.filter((id) => !ahead.journaled.includes(id))).toEqual([]);
    expect(await countStates(scene.database)).not.toHaveProperty("blocked");
    // A refused connection counts as one attempt of its account; what the open circuit held back has none.
    const [attempts] = await scene.database.query<{ sum: number }>(
      "select coalesce(sum(attempts), 0)::integer as sum from account_sync.status where state <> 'parked'",
    );
    expect(attempts?.sum).toBeLessThanOrEqual(refused);

    scene.sandbox.clearFaults();
    await proxy.accept();
    const backAt = performance.now();
    await decideWhatIsInDoubt(scene, daemon, cutOff);
    await untilAtRest(scene.database, 60_000);
    expect(scene.sandbox.customers()).toHaveLength(ACCOUNTS);
    await recordFlawless(scene, ahead.loaded.length, performance.now() - backAt);
  },
);

function settingsFor(concurrency: number, policy: Policy): Record<string, string> {
  return {
    ...PATIENT,
    SYNC_CONCURRENCY: String(concurrency),
    CUSTOMER_API_UNKNOWN_OUTCOME: policy,
  };
}

interface Ahead {
  /** Accounts at work, those in flight among them. */
  readonly loaded: readonly string[];
  /** Whose send is written down. */
  readonly journaled: readonly string[];
}

/** Lets the API answer until many accounts are loaded ahead, and then no more. Resolves when nothing moves. */
async function holdWithManyAhead(scene: Scene, concurrency: number): Promise<Ahead> {
  for (let tries = 1; ; tries += 1) {
    await untilManyAreLoadedAhead(scene);
    scene.sandbox.setFaults({ always: HELD });
    const ahead = await untilStill(scene, concurrency);
    if (ahead.loaded.length - ahead.journaled.length >= AHEAD_MIN) return ahead;
    if (tries === 5) throw new Error(`${JSON.stringify(ahead)} is all that was loaded ahead`);
    scene.sandbox.clearFaults();
  }
}

/** As many as the daemon is fast: it works for some tenths of a second first. */
async function untilManyAreLoadedAhead(scene: Scene): Promise<void> {
  await eventually(
    async () => {
      const { loaded, journaled } = await leasedAccounts(scene);
      expect(loaded.length - journaled.length).toBeGreaterThan(AHEAD_MIN);
    },
    { timeoutMs: 20_000, intervalMs: 1 },
  );
}

/** All requests are in flight that can be, and what was answered before is settled. */
async function untilStill(scene: Scene, concurrency: number): Promise<Ahead> {
  let before = await leasedAccounts(scene);
  return await eventually(
    async () => {
      const now = await leasedAccounts(scene);
      const last = before;
      before = now;
      expect(scene.sandbox.counts().inWork).toBe(concurrency);
      expect(now).toEqual(last);
      return now;
    },
    { timeoutMs: 20_000, intervalMs: 250 },
  );
}

async function leasedAccounts({ database }: Scene): Promise<Ahead> {
  const rows = await database.query<{ id: string; isJournaled: boolean }>(
    `select
       a.account_id as id,
       exists (
         select from account_sync.attempt t where t.account_id = a.account_id and t.settled_at is null
       ) as "isJournaled"
     from account_sync.account a
     where a.lease_token is not null
     order by a.account_id`,
  );
  return {
    loaded: rows.map(({ id }) => id),
    journaled: rows.filter(({ isJournaled }) => isJournaled).map(({ id }) => id),
  };
}

async function sendingAccounts({ database }: Scene): Promise<string[]> {
  const rows = await database.query<{ id: string }>(
    "select account_id as id from account_sync.attempt where delivery = 'sending' and settled_at is null",
  );
  return rows.map(({ id }) => id);
}

async function parkedAccounts({ database }: Scene): Promise<string[]> {
  const rows = await database.query<{ id: string }>(
    "select account_id as id from account_sync.status where state = 'parked' and error_class = 'unknown_outcome' order by 1",
  );
  return rows.map(({ id }) => id);
}

/** Most requests that came within two windows of a tenth of a second: what the daemon counted in one may have come in two. */
function mostEnded(scene: Scene): number {
  return mostWithin(
    scene.requests().map(({ receivedAt }) => receivedAt),
    200,
  );
}

/** What RequestSlots admits: the slots, and half as many again or what they take in a fortieth of a second. */
function admittedMax(scene: Scene, concurrency: number): number {
  return concurrency + Math.ceil(Math.max(concurrency / 2, mostEnded(scene) / 4));
}

/**
 * Nobody but those in doubt is parked; a person looks up which of their customers there are, sets those ids, and retries an hour later.
 */
async function decideWhatIsInDoubt(
  scene: Scene,
  daemon: StartedDaemon,
  inDoubt: readonly string[],
): Promise<void> {
  await eventually(
    async () => expect(await parkedAccounts(scene)).toEqual([...inDoubt].toSorted()),
    { timeoutMs: 30_000 },
  );
  await retryWhatIsParked(scene, daemon);
}

async function retryWhatIsParked(scene: Scene, daemon: StartedDaemon): Promise<void> {
  const customers = scene.sandbox.customers();
  await scene.database.query(
    `update m_account a
     set uuid_be = c.id
     from unnest($1::text[], $2::text[]) as c (code, id), account_sync.status s
     where a.account_no = c.code and s.account_id = a.id::text and s.state = 'parked'`,
    [customers.map(({ code }) => code), customers.map(({ id }) => id)],
  );
  await scene.database.query(
    "update account_sync.attempt set started_at = started_at - interval '1 hour' where settled_at is null",
  );
  await retryAll(daemon);
}

async function codesOf({ database }: Scene, ids: readonly string[]): Promise<Set<string>> {
  const rows = await database.query<{ code: string }>(
    "select account_no as code from m_account where id::text = any($1)",
    [ids],
  );
  return new Set(rows.map(({ code }) => code));
}

function requestsOf(scene: Scene, codes: ReadonlySet<string>) {
  return scene.requests().filter(({ code }) => codes.has(code ?? ""));
}

async function outcomesOf(
  { database }: Scene,
  ids: readonly string[],
): Promise<Record<string, number>> {
  const rows = await database.query<{ outcome: string; count: number }>(
    "select outcome, count(*)::integer as count from account_sync.attempt where account_id = any($1) group by 1",
    [ids],
  );
  return Object.fromEntries(rows.map(({ outcome, count }) => [outcome, count]));
}

async function untilApplied(scene: Scene, count: number): Promise<void> {
  await eventually(() => expect(scene.sandbox.customers().length).toBeGreaterThanOrEqual(count), {
    timeoutMs: 20_000,
    intervalMs: 1,
  });
}

async function untilClean(
  { database }: Scene,
  ids: readonly string[],
  timeoutMs = 20_000,
): Promise<void> {
  await eventually(
    async () =>
      expect(
        await database.query(
          "select account_id, state from account_sync.status where account_id = any($1) and state <> 'clean'",
          [ids],
        ),
      ).toEqual([]),
    { timeoutMs },
  );
}

async function triesOf(daemon: StartedDaemon): Promise<number> {
  return await daemon.metric("api_requests_total", { operation: "create" });
}

async function recordFlawless(scene: Scene, tries: number, recoveryMs: number): Promise<Verdict> {
  const found = await audit(scene.database, scene.sandbox);
  expect(found).toEqual(FLAWLESS);
  recordFault("F57", found, { tries, recoveryMs });
  return found;
}
