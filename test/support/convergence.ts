/**
 * The whole product under all faults at once: an application that writes at random (application.ts), three replicas as real processes,
 * two customer APIs that give out the same ids, and faults of every part (storm.ts). Then the faults stop, everything comes to rest, parked accounts are repaired by hand, and I1 to
 * I8 are judged from outside.
 *
 * A seed repeats the same writes and the same faults at the same times, but not what the processes were doing at those times.
 */
import { readFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { type ApiPair, configureOther, OTHER_CONFIG, startApiPair } from "./api-pair.ts";
import {
  type ApplicationPlan,
  PASSWORD_CANARY,
  PERSONAL_CANARIES,
  planApplication,
} from "./application.ts";
import { createApplication, createChangeCount } from "./application-run.ts";
import { audit } from "./audit.ts";
import { POISON } from "./careless-kinds.ts";
import { startFleet } from "./fleet.ts";
import {
  deadlocks,
  keptTexts,
  leaks,
  needlessRequests,
  overlaps,
  readMetrics,
  replacedIds,
  watchVisibility,
  watchWaits,
  witnessChanges,
} from "./invariants.ts";
import { createDatabase } from "./postgres.ts";
import { apiEnvironment } from "./product.ts";
import { createRandom } from "./random.ts";
import { comeToRest, countWaiting, repair, toldOfConflicts } from "./repair.ts";
import { planStorm, type Storm } from "./storm.ts";
import {
  leftByClearing,
  leftByFaults,
  leftByRefusals,
  leftByRemovals,
} from "./storm-explanations.ts";
import { type Place, rage, TAPE_LENGTH } from "./storm-run.ts";
import type { Verdict } from "./verdict.ts";

export interface ConvergenceOptions {
  readonly seed: string;
  /** `resend` at an API that honours keys; `park` at one that ignores them, with creates in doubt looked up by hand. */
  readonly policy: "resend" | "park";
  readonly stormMs: number;
}

/** What was found. Every list of `violations` has to be empty. */
export interface Convergence {
  /** After the storm, before anything is repaired. */
  readonly verdict: Verdict;
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

const CLIENT_SECRET = "rahasiaxq-client";
const HTTP_TOKEN = "rahasiaxq-http";
const SLOTS = 3;
const TRANSACTIONS_EACH = 60;

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
    otherConfig: OTHER_CONFIG,
  });
  const storm = planStorm(random.fork("storm"), {
    durationMs: stormMs,
    slots: SLOTS,
    tapeLength: TAPE_LENGTH,
    echo: policy === "resend",
    quote: "kenarixq-quoted@example.com",
  });

  const database = await createDatabase();
  const sandbox = await startApiPair({
    clientSecret: CLIENT_SECRET,
    echo: policy === "resend",
    honourKeys: policy === "resend",
    tokenExpiresInSeconds: 20,
  });
  await configureOther(database, sandbox);
  await database.query(await readFile(new URL("careless-writers.sql", import.meta.url), "utf8"));
  // Three at once on a database that is not migrated.
  const fleet = await startFleet({
    databaseUrl: database.url,
    slots: SLOTS,
    environment: {
      ...apiEnvironment(sandbox.default),
      CUSTOMER_API_UNKNOWN_OUTCOME: policy,
      CUSTOMER_API_TIMEOUT_MS: "1500",
      SYNC_QUIET_PERIOD_MS: "50",
      SYNC_MAX_WAIT_MS: "500",
      SYNC_BACKOFF_MIN_MS: "50",
      SYNC_BACKOFF_MAX_MS: "1000",
      SYNC_SWEEP_INTERVAL_MS: "1000",
      SYNC_SHUTDOWN_TIMEOUT_MS: "5000",
      SYNC_CONCURRENCY: "4",
      HTTP_TOKEN,
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
  readonly sandbox: ApiPair;
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
  const { counts, disturbances } = await rage(
    storm,
    { database, sandbox, fleet },
    { containing: POISON, status: 500 },
  );
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
    leftByClearing(sandbox.customers()),
  ]);
  const parkedByStorm = await countWaiting(database);

  // What is left for a person to repair.
  await repair({ database, sandbox, fleet }, HTTP_TOKEN);
  const repaired = await audit(database, sandbox, [
    await leftByRemovals(database),
    leftByClearing(sandbox.customers()),
  ]);

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
    leftByClearing(sandbox.customers()),
  ]);

  const metrics = await Promise.all(
    fleet.slots.map(({ url }) => (url === null ? "" : readMetrics(url))),
  );
  const kept = await keptTexts(database);
  await fleet.stop();

  const calmCodes = new Set(
    needlessRequests(calmRequests, (code) => changes.since(changesBefore, code) - 1, []),
  );
  const secrets = [...PERSONAL_CANARIES, PASSWORD_CANARY, CLIENT_SECRET, HTTP_TOKEN];
  return {
    verdict: stormy,
    violations: {
      "I1 lost": [
        ...[...stormy.lost, ...stormy.unexplained],
        ...[...repaired.lost, ...repaired.unexplained].map((text) => `${text}, after the repair`),
        ...[...calm.lost, ...calm.unexplained].map((text) => `${text}, in the calm`),
      ],
      "I2 overlapping": overlapping.forbidden,
      "I3 twins": [...calm.twins, ...calm.strays],
      "I4 ids": [
        ...[stormy, repaired, calm].flatMap(({ wrongIds, lostIds }) => [
          ...wrongIds.map((text) => `${text} has a wrong id`),
          ...lostIds.map((text) => `${text} lacks its id`),
        ]),
        ...(await replacedIds(database)),
        ...[stormy, repaired, calm].flatMap(({ overwritten }) => overwritten),
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
