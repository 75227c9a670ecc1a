/**
 * The whole product under all faults at once: an application that writes at random (application.ts), three replicas as real processes,
 * and faults of every part (storm.ts). Then the faults stop, everything comes to rest, parked accounts are repaired by hand, and I1 to
 * I8 are judged from outside.
 *
 * A seed repeats the same writes and the same faults at the same times, but not what the processes were doing at those times.
 */
import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";
import { expect } from "vitest";
import {
  type Sandbox,
  type SandboxFault,
  type SandboxRequest,
  startSandbox,
} from "../../src/local/sandbox.ts";
import {
  type ApplicationPlan,
  PASSWORD_CANARY,
  PERSONAL_CANARIES,
  type PlannedTransaction,
  planApplication,
} from "./application.ts";
import { audit, isAtRest } from "./audit.ts";
import { eventually } from "./eventually.ts";
import type { Explanation } from "./explanation.ts";
import { type Fleet, startFleet } from "./fleet.ts";
import {
  type Disturbance,
  deadlocks,
  keptTexts,
  leaks,
  needlessRequests,
  overlaps,
  readMetrics,
  removedAccounts,
  replacedIds,
  watchVisibility,
  watchWaits,
  witnessChanges,
} from "./invariants.ts";
import { createDatabase, type TestDatabase } from "./postgres.ts";
import { apiEnvironment } from "./product.ts";
import { createRandom } from "./random.ts";
import { type Fault, planStorm, type Storm } from "./storm.ts";
import type { Verdict } from "./verdict.ts";

export interface ConvergenceOptions {
  readonly seed: string;
  /** `resend` at an API that honours keys; `park` at one that ignores them, with creates in doubt looked up by hand. */
  readonly policy: "resend" | "park";
  readonly stormMs: number;
}

/** What was found. Every list of `violations` has to be empty. */
export interface Convergence {
  /** After the storm, and at the end. */
  readonly verdicts: { readonly stormy: Verdict; readonly calm: Verdict };
  readonly violations: Readonly<Record<Invariant, readonly string[]>>;
  readonly figures: {
    readonly transactions: number;
    readonly faults: Readonly<Record<string, number>>;
    readonly requests: number;
    readonly accounts: number;
    /** From the end of the last fault and the last write. */
    readonly recoveryMs: number;
    readonly parkedByStorm: number;
    readonly overlapsOfStopped: number;
    readonly longestWaitMs: { readonly storm: number; readonly calm: number };
    readonly waits: Readonly<Record<string, number>>;
    readonly slowestStatementMs: { readonly storm: number; readonly calm: number };
    readonly looks: number;
    readonly scrapes: number;
  };
}

type Invariant =
  | "I1 lost"
  | "I2 overlapping"
  | "I3 twins"
  | "I4 ids"
  | "I5 requests"
  | "I6 application"
  | "I7 hidden"
  | "I8 leaked"
  | "processes";

export const CONVERGED: Convergence["violations"] = {
  "I1 lost": [],
  "I2 overlapping": [],
  "I3 twins": [],
  "I4 ids": [],
  "I5 requests": [],
  "I6 application": [],
  "I7 hidden": [],
  "I8 leaked": [],
  processes: [],
};

const SECRET_CANARIES = ["rahasiaxq-client", "rahasiaxq-http"];
const SLOTS = 3;
const TRANSACTIONS_EACH = 60;
/** More than three replicas ever send in a storm. */
const TAPE_LENGTH = 4_000;
const REQUESTS_ENOUGH = 120;

/** We hold a row of the application for at most our silence timeout of 5 s, and that only where a process was stopped. */
const STORM_LIMITS = { lockTimeoutMs: 6_500, statementTimeoutMs: 7_500 };
const CALM_LIMITS = { lockTimeoutMs: 1_000, statementTimeoutMs: 2_500 };

export async function converge({
  seed,
  policy,
  stormMs,
}: ConvergenceOptions): Promise<Convergence> {
  const random = createRandom(`${seed} ${policy}`);
  const plan = planApplication(random.fork("application"), {
    writers: 4,
    accountsEach: 10,
    transactionsEach: TRANSACTIONS_EACH,
    pauseMaxMs: (2 * stormMs) / (TRANSACTIONS_EACH * 1.5),
    holdMaxMs: 3_000,
  });
  const storm = planStorm(random.fork("storm"), {
    durationMs: stormMs,
    slots: SLOTS,
    tapeLength: TAPE_LENGTH,
    echo: policy === "resend",
    quote: "kenarixq-quoted@example.com",
  });

  const database = await createDatabase();
  const sandbox = await startSandbox({
    clientSecret: SECRET_CANARIES[0] ?? "",
    echo: policy === "resend",
    honourKeys: policy === "resend",
    tokenExpiresInSeconds: 20,
  });
  // Three at once on a database that is not migrated.
  const fleet = await startFleet({
    databaseUrl: database.url,
    slots: SLOTS,
    environment: {
      ...apiEnvironment(sandbox),
      CUSTOMER_API_UNKNOWN_OUTCOME: policy,
      CUSTOMER_API_TIMEOUT_MS: "1500",
      SYNC_QUIET_PERIOD_MS: "50",
      SYNC_MAX_WAIT_MS: "500",
      SYNC_BACKOFF_MIN_MS: "50",
      SYNC_BACKOFF_MAX_MS: "1000",
      SYNC_SWEEP_INTERVAL_MS: "1000",
      SYNC_SHUTDOWN_TIMEOUT_MS: "5000",
      SYNC_CONCURRENCY: "4",
      HTTP_TOKEN: SECRET_CANARIES[1] ?? "",
    },
  });
  try {
    return await live({ database, sandbox, fleet, plan, storm, policy });
  } finally {
    await fleet.abandon();
    await sandbox.close();
  }
}

interface Life extends Place {
  readonly plan: ApplicationPlan;
  readonly storm: Storm;
  readonly policy: ConvergenceOptions["policy"];
}

async function live({ database, sandbox, fleet, plan, storm, policy }: Life): Promise<Convergence> {
  const changes = createChangeCount();
  await fleet.allReady();
  await witnessChanges(database);

  // The storm.
  const visibility = watchVisibility(database, sandbox, fleet.slots);
  const stormWaits = watchWaits(database);
  const application = createApplication(database, changes);
  await application.run(plan.reference, 0, STORM_LIMITS);
  const writing = Promise.all(
    plan.writers.map((transactions, writer) =>
      application.runAll(transactions, writer, STORM_LIMITS),
    ),
  );
  const { counts, disturbances } = await rage(storm, { database, sandbox, fleet });
  await writing;
  const calmSince = performance.now();
  await fleet.allReady();

  // Rest.
  await comeToRest(database, sandbox);
  const recoveryMs = performance.now() - calmSince;
  const seen = await visibility.end();
  const waits = await stormWaits.end();
  const history = [...sandbox.history()];
  const overlapping = overlaps(history, disturbances);
  const told = await toldOfConflicts(database);
  const stormy = await audit(database, sandbox, [
    ...leftByFaults({ policy, history, told }),
    await leftByRemovals(database),
  ]);
  const parkedByStorm = await countWaiting(database);

  // What is left for a person to repair.
  await repair(database, sandbox, fleet);
  const repaired = await audit(database, sandbox, [await leftByRemovals(database)]);

  // Calm: a change is sent at most once, and then nothing is sent.
  const before = sandbox.counts().total;
  const changesBefore = changes.snapshot();
  const calmApplication = createApplication(database, changes);
  const calmWaits = watchWaits(database);
  await calmApplication.runAll(plan.calm, 0, CALM_LIMITS);
  await comeToRest(database, sandbox);
  const calmRequests = sandbox.history().slice(before - sandbox.counts().total);
  const restedAt = sandbox.counts().total;
  // Three sweeps, in which nothing may be sent: there is no fact to wait for.
  await sleep(3_000);
  const afterRest = sandbox.counts().total - restedAt;
  const calmWaited = await calmWaits.end();
  const calm = await audit(database, sandbox, [
    leftByRefusals(sandbox.history()),
    await leftByRemovals(database),
  ]);

  const metrics = await Promise.all(
    fleet.slots.map(({ url }) => (url === null ? "" : readMetrics(url))),
  );
  const kept = await keptTexts(database);
  await fleet.stop();

  const calmCodes = new Set(
    needlessRequests(calmRequests, (code) => changes.since(changesBefore, code) - 1, []),
  );
  const secrets = [...PERSONAL_CANARIES, PASSWORD_CANARY, ...SECRET_CANARIES];
  return {
    verdicts: { stormy, calm },
    violations: {
      "I1 lost": [
        ...[...stormy.lost, ...stormy.unexplained],
        ...[...repaired.lost, ...repaired.unexplained].map((text) => `${text}, after the repair`),
        ...[...calm.lost, ...calm.unexplained].map((text) => `${text}, in the calm`),
      ],
      "I2 overlapping": overlapping.forbidden,
      "I3 twins": [...calm.twins, ...calm.strays],
      "I4 ids": [
        ...[stormy, repaired, calm].flatMap(({ wrongIds, lostIds }) => [...wrongIds, ...lostIds]),
        ...(await replacedIds(database)),
      ],
      "I5 requests": [
        ...needlessRequests(history, (code) => changes.of(code), disturbances),
        ...[...calmCodes].map((text) => `in the calm: ${text}`),
        ...(afterRest === 0 ? [] : [`${afterRest} requests after everything was at rest`]),
      ],
      "I6 application": [
        ...application.failures,
        ...calmApplication.failures,
        ...((await deadlocks(database)) === 0 ? [] : ["deadlocks"]),
      ],
      "I7 hidden": [...seen.hidden],
      "I8 leaked": leaks([...fleet.output(), ...metrics, ...kept], secrets),
      processes: fleet.surprises,
    },
    figures: {
      transactions: application.count + calmApplication.count,
      faults: counts,
      requests: sandbox.counts().total,
      accounts: sandbox.customers().length,
      recoveryMs: Math.round(recoveryMs),
      parkedByStorm,
      overlapsOfStopped: overlapping.ofStopped,
      longestWaitMs: {
        storm: Math.round(waits.longestMs),
        calm: Math.round(calmWaited.longestMs),
      },
      waits: Object.fromEntries(waits.examples),
      slowestStatementMs: {
        storm: Math.round(application.slowestMs),
        calm: Math.round(calmApplication.slowestMs),
      },
      looks: seen.looks,
      scrapes: seen.scrapes,
    },
  };
}

// The application.

interface Limits {
  readonly lockTimeoutMs: number;
  readonly statementTimeoutMs: number;
}

function createApplication(database: TestDatabase, changes: ChangeCount) {
  const application = {
    failures: [] as string[],
    count: 0,
    slowestMs: 0,

    async runAll(
      transactions: readonly PlannedTransaction[],
      writer: number,
      limits: Limits,
    ): Promise<void> {
      const client = await connect(database, writer, limits);
      for (const transaction of transactions) {
        // The application's own pace.
        await sleep(transaction.pauseMs);
        if (!(await runOne(client, transaction, writer))) break;
      }
      await client.end();
    },

    async run(transaction: PlannedTransaction, writer: number, limits: Limits): Promise<void> {
      await application.runAll([transaction], writer, limits);
    },
  };

  /** Resolves false when the writer has to stop, as later transactions depend on one that failed. */
  async function runOne(
    client: pg.Client,
    { name, steps, ends, touches }: PlannedTransaction,
    writer: number,
  ): Promise<boolean> {
    application.count += 1;
    // Counted before the commit: its request may be sent before the commit is confirmed.
    if (ends === "commit") changes.add(touches);
    try {
      // A single statement commits by itself.
      const isWhole = steps.length > 1 || ends === "rollback";
      if (isWhole) await client.query("begin");
      for (const step of steps) {
        if ("holdMs" in step) {
          // A transaction that the application holds open.
          await sleep(step.holdMs);
          continue;
        }
        const beganAt = performance.now();
        try {
          await client.query(step.sql, step.params === undefined ? [] : [...step.params]);
        } catch (error) {
          if (step.fails === undefined || (error as pg.DatabaseError).code !== step.fails)
            throw error;
        }
        application.slowestMs = Math.max(application.slowestMs, performance.now() - beganAt);
      }
      if (isWhole) await client.query(ends);
      return true;
    } catch (error) {
      const { code = "", message } = error as pg.DatabaseError;
      application.failures.push(`writer ${writer}, ${name}: ${code} ${message}`);
      return false;
    }
  }

  return application;
}

async function connect(
  database: TestDatabase,
  writer: number,
  { lockTimeoutMs, statementTimeoutMs }: Limits,
): Promise<pg.Client> {
  const client = new pg.Client({
    connectionString: database.url,
    application_name: `application ${writer}`,
    statement_timeout: statementTimeoutMs,
    options: `-c lock_timeout=${lockTimeoutMs}`,
  });
  client.on("error", () => {});
  await client.connect();
  return client;
}

interface ChangeCount {
  add(touches: PlannedTransaction["touches"]): void;
  of(code: string): number;
  snapshot(): (code: string) => number;
  since(before: (code: string) => number, code: string): number;
}

/** How often an account may have changed, by what the application has committed. */
function createChangeCount(): ChangeCount {
  let ofAll = 0;
  const ofOne = new Map<string, number>();
  const of = (code: string) => ofAll + (ofOne.get(code) ?? 0);
  return {
    add(touches) {
      if (touches === "all") ofAll += 1;
      else for (const code of touches) ofOne.set(code, (ofOne.get(code) ?? 0) + 1);
    },
    of,
    snapshot() {
      const [all, one] = [ofAll, new Map(ofOne)];
      return (code) => all + (one.get(code) ?? 0);
    },
    since: (before, code) => of(code) - before(code),
  };
}

// The storm.

interface Place {
  readonly database: TestDatabase;
  readonly sandbox: Sandbox;
  readonly fleet: Fleet;
}

/** Resolves when the last fault is over. */
async function rage(
  { faults, tape }: Storm,
  place: Place,
): Promise<{ counts: Record<string, number>; disturbances: Disturbance[] }> {
  const counts: Record<string, number> = {};
  const disturbances: Disturbance[] = [];
  const beganAt = performance.now();
  place.sandbox.setFaults({ next: [...tape] });

  await Promise.all(
    faults.map(async ({ atMs, fault }) => {
      // The plan's own time.
      await sleep(Math.max(0, beganAt + atMs - performance.now()));
      const disturbance: Disturbance = {
        name: fault.name,
        slot: "slot" in fault ? fault.slot : null,
        from: performance.now(),
        to: Number.POSITIVE_INFINITY,
      };
      // Faults of the API show in the requests themselves.
      if (fault.part !== "api") disturbances.push(disturbance);
      const isDone = await bringAbout(fault, place);
      disturbance.to = performance.now();
      if (isDone) counts[nameOf(fault)] = (counts[nameOf(fault)] ?? 0) + 1;
    }),
  );
  await playOn(place);
  counts["api"] = await playedOf(tape, place.sandbox);
  place.sandbox.clearFaults();
  return { counts, disturbances };
}

/** On a slow machine the replicas send little during the storm: the API's faults go on until enough requests have met them. */
async function playOn({ database, sandbox }: Place): Promise<void> {
  const isEnough = async () =>
    sandbox.counts().total >= REQUESTS_ENOUGH || (await isAtRest(database));
  await eventually(async () => expect(await isEnough()).toBe(true), { timeoutMs: 30_000 }).catch(
    () => {},
  );
}

/** How many faults of the tape have met a request. */
async function playedOf(tape: readonly SandboxFault[], { url }: Sandbox): Promise<number> {
  const { next } = (await (await fetch(`${url}/sandbox/faults`)).json()) as {
    next: readonly SandboxFault[];
  };
  const bad = (faults: readonly SandboxFault[]) =>
    faults.filter((fault) => Object.keys(fault).length > 0).length;
  return bad(tape) - bad(next);
}

function nameOf(fault: Fault): string {
  return `${fault.part} ${fault.name}${fault.part === "process" && fault.name === "stop" && fault.forMs > 4_000 ? " long" : ""}`;
}

async function bringAbout(fault: Fault, { database, sandbox, fleet }: Place): Promise<boolean> {
  switch (fault.part) {
    case "api":
      sandbox.revokeTokens();
      return true;

    case "network": {
      const network = fleet.slots[fault.slot]?.network;
      if (network === undefined) return false;
      switch (fault.name) {
        case "cut":
          network.cut();
          return true;
        case "delay":
          network.delay(fault.delayMs);
          await sleep(fault.forMs);
          network.delay(0);
          return true;
        case "blackhole":
          network.blackhole(true);
          await sleep(fault.forMs);
          network.blackhole(false);
          return true;
        case "refuse":
          await network.refuse();
          network.cut();
          await sleep(fault.forMs);
          await network.accept();
          return true;
      }
      return false;
    }

    case "database": {
      const killed = await database.query(
        `select pg_terminate_backend(pid) from pg_stat_activity
         where datname = current_database() and application_name like 'account-sync%' and ($1 = 'any' or application_name ~ ('^account-sync [^ ]+' || $1 || '$'))`,
        [fault.role],
      );
      return killed.length > 0;
    }

    case "process": {
      const slot = fleet.slots[fault.slot];
      if (slot === undefined) return false;
      switch (fault.name) {
        case "kill":
          return await fleet.kill(slot, fault.forMs);
        case "term":
          return await fleet.terminate(slot, fault.forMs);
        case "kill all":
          return await fleet.killAll(fault.forMs);
        case "stop":
          return await fleet.suspend(slot, fault.forMs);
      }
      return false;
    }

    default:
      return fault satisfies never;
  }
}

// After the storm.

async function comeToRest(database: TestDatabase, sandbox: Sandbox): Promise<void> {
  await eventually(
    async () => {
      if (sandbox.counts().inWork > 0 || !(await isAtRest(database))) {
        const rows = await database.query<{ text: string }>(
          "select (select count(*) from account_sync.change) || ' changes; ' || s::text as text from account_sync.status s where state <> 'clean' limit 5",
        );
        throw new Error(`not at rest: ${rows.map(({ text }) => text).join("\n")}`);
      }
    },
    { timeoutMs: 60_000, intervalMs: 100 },
  );
}

/** Account numbers for which an id conflict was reported: a row keeps the id that it was given as another account's. */
async function toldOfConflicts(database: TestDatabase): Promise<string[]> {
  const rows = await database.query<{ code: string }>(
    "select distinct a.account_no as code from m_account a join account_sync.history h on h.account_id = a.id::text where h.error_class = 'id_conflict'",
  );
  return rows.map(({ code }) => code);
}

/** What faults explain: an outage, however it shows, parks nothing but creates in doubt that may not be resent or were refused then. */
function leftByFaults({
  policy,
  history,
  told,
}: {
  readonly policy: ConvergenceOptions["policy"];
  readonly history: readonly SandboxRequest[];
  readonly told: readonly string[];
}): Explanation[] {
  const isRefused = refusedLast(history);
  return [
    {
      accounts: (code, account) => account?.uuid === null && (policy === "park" || isRefused(code)),
      are: "parked",
      errorClass: "unknown_outcome",
      because:
        policy === "park"
          ? "a create in doubt at an API that ignores keys"
          : "a create in doubt that was refused when it was resent",
    },
    leftByRefusals(history),
    {
      // The parent is judged like any other account.
      accounts: () => true,
      are: "blocked",
      because: "its parent has no id",
    },
    {
      accounts: (code) => told.includes(code),
      are: "other ids",
      because: "the conflict was reported, and the id that stands is kept",
    },
  ];
}

/** Also without a fault: a row that the application moved to another account brings the id of another customer along. */
function leftByRefusals(history: readonly SandboxRequest[]): Explanation {
  return {
    accounts: refusedLast(history),
    are: "parked",
    errorClass: "rejected",
    because: "the API refused the last command",
  };
}

function refusedLast(history: readonly SandboxRequest[]): (code: string) => boolean {
  const lastOf = new Map(history.map((request) => [request.code, request]));
  return (code) => {
    const { status = null, applied = false } = lastOf.get(code) ?? {};
    return status !== null && (status < 300 ? !applied : status >= 400 && status < 500);
  };
}

async function leftByRemovals(database: TestDatabase): Promise<Explanation> {
  const removed = await removedAccounts(database);
  return {
    accounts: (code) => removed.has(code),
    are: "removed",
    because: "ON_ACCOUNT_DELETE is ignore, so the customer of a deleted account stays",
  };
}

const WAITING = `from account_sync.status s left join m_account a on a.id::text = s.account_id where s.state in ('parked', 'blocked')`;

async function countWaiting(database: TestDatabase): Promise<number> {
  const [row] = await database.query<{ count: number }>(`select count(*)::int as count ${WAITING}`);
  return row?.count ?? 0;
}

/** As the error texts advise: look the customer up, set its id, clear ids of other customers, retry. */
async function repair(database: TestDatabase, sandbox: Sandbox, fleet: Fleet): Promise<void> {
  // The API reports refused rows one at a time, and a child waits for its parent.
  for (let round = 0; round < 5; round += 1) {
    const rows = await database.query<{ id: string; code: string; uuid: string | null }>(
      `select a.id::text as id, a.account_no as code, a.uuid_be as uuid ${WAITING} and a.id is not null
       union
       select a.id::text, a.account_no, a.uuid_be from m_account a where a.account_no = any ($1)`,
      [round === 0 ? await toldOfConflicts(database) : []],
    );
    if (rows.length === 0 && (await countWaiting(database)) === 0) return;

    for (const { id, code, uuid } of rows) {
      const known = sandbox.customers().filter((customer) => customer.code === code);
      if (uuid === null && known.length === 1)
        await database.query("update m_account set uuid_be = $2 where id = $1", [id, known[0]?.id]);
      const ids = known.flatMap(({ tiers, crew }) => [...tiers, ...crew].map((item) => item.id));
      for (const table of ["m_account_package_tier", "m_account_pic"])
        await database.query(
          `update ${table} set uuid_be = null where account_id = $1 and uuid_be <> all ($2)`,
          [id, ids],
        );
      await database.query("select account_sync.request($1::uuid)", [id]);
    }
    const url = fleet.slots[0]?.url;
    const retried = await fetch(`${url}/api/accounts/retry`, {
      method: "POST",
      headers: {
        authorization: `Bearer ${SECRET_CANARIES[1]}`,
        "content-type": "application/json",
      },
      body: JSON.stringify({ all: true }),
    });
    if (!retried.ok) throw new Error(`retry answered ${retried.status}: ${await retried.text()}`);
    await comeToRest(database, sandbox);
  }
}
