/**
 * One contender syncs all accounts once: at how many accounts per second, and for how much processor time. The clock runs from the request
 * after the first tenth, when a new process has compiled its code, until the last id is written.
 */
import type { Contender } from "../contenders/contender.ts";
import { nowMs } from "../daemons/parent.ts";
import { countRowsWithoutId } from "../lab/accounts.ts";
import type { Api } from "../lab/api.ts";
import type { Child } from "../lab/children.ts";
import type { Database, Postgres } from "../lab/postgres.ts";
import { processorMs, serverProcessorMs } from "../lab/processor-time.ts";
import { until } from "./wait.ts";

export interface Drain {
  readonly accountsPerSecond: number;
  /** Per account, in milliseconds; null where the system does not say. */
  readonly daemonMs: number | null;
  readonly postgresMs: number | null;
}

export interface DrainOptions {
  readonly postgres: Postgres;
  readonly api: Api;
  readonly contender: Contender;
  readonly database: Database;
  readonly accounts: number;
  readonly concurrency: number;
  readonly delayMs: number;
  /** Default 1. */
  readonly daemons?: number;
  /** Makes the work, where it has to be done while the daemon runs. */
  readonly makeWork?: () => Promise<void>;
}

export async function measureDrain(options: DrainOptions): Promise<Drain> {
  const { api, accounts, delayMs, daemons: count = 1, makeWork } = options;
  // The first of several daemons would be far ahead, or done, before the last has started.
  await api.reset({ delayMs, isHeld: count > 1 });

  const daemons = await Promise.all(Array.from({ length: count }, () => startDaemon(options)));
  try {
    await api.release();
    const made = makeWork?.();
    await waitForRequests(api, accounts / 10, 2);
    const before = await readMeters(options, daemons);
    await waitForRequests(api, accounts, 20);
    await waitUntilSettled(options);
    await made;
    const after = await readMeters(options, daemons);

    assertFair(options, (await api.counts()).inFlightMax);
    const measured = after.requests - before.requests;
    if (measured === 0) throw new Error(`${accounts} accounts are too few: all came at once`);
    const perAccount = (from: number | null, to: number | null) =>
      from === null || to === null ? null : (to - from) / measured;
    return {
      accountsPerSecond: (measured * 1_000) / (after.atMs - before.atMs),
      daemonMs: perAccount(before.daemonMs, after.daemonMs),
      postgresMs: perAccount(before.postgresMs, after.postgresMs),
    };
  } finally {
    await Promise.all(daemons.map((daemon) => daemon.stop()));
  }
}

/** An API that answers at once has one request at a time, and does not show it. */
function assertFair(
  { contender, concurrency, daemons = 1 }: DrainOptions,
  inFlightMax: number,
): void {
  const allowed = concurrency * daemons;
  if (inFlightMax <= allowed) return;
  throw new Error(
    `${contender.name} had ${inFlightMax} requests in flight where ${allowed} are allowed`,
  );
}

async function waitForRequests(api: Api, wanted: number, everyMs: number): Promise<void> {
  await until(`${wanted} requests`, everyMs, async () => {
    const { requests } = await api.counts();
    return { answer: requests >= wanted ? true : null, progress: requests };
  });
}

async function startDaemon(options: DrainOptions): Promise<Child> {
  const { api, contender, database, accounts, concurrency } = options;
  if (contender.start === null) throw new Error(`${contender.name} has no daemon`);
  return await contender.start({
    databaseUrl: database.url,
    apiUrl: api.url,
    concurrency,
    accounts,
  });
}

/** The last ids are written after the last request. */
async function waitUntilSettled(options: DrainOptions): Promise<void> {
  const { api, contender, database, accounts } = options;
  await until("the last answers", 2, async () => {
    const { answers } = await api.counts();
    return { answer: answers >= accounts ? true : null, progress: answers };
  });
  if (contender.install === null) return;

  await until("the write-back", 5, async () => {
    const answer = (await isSettled(contender, database)) ? true : null;
    return { answer };
  });
  const missing = await countRowsWithoutId(database);
  if (missing > 0) throw new Error(`${contender.name} left ${missing} rows without their id`);
}

async function isSettled({ pendingQuery }: Contender, database: Database): Promise<boolean> {
  if (pendingQuery === null) return (await countRowsWithoutId(database)) === 0;
  const [row] = await database.query<{ pending: boolean }>(pendingQuery);
  return row?.pending === false;
}

interface Meters {
  readonly atMs: number;
  readonly requests: number;
  readonly daemonMs: number | null;
  readonly postgresMs: number | null;
}

async function readMeters(
  { postgres, api }: DrainOptions,
  daemons: readonly Child[],
): Promise<Meters> {
  const { requests } = await api.counts();
  return {
    atMs: nowMs(),
    requests,
    daemonMs: daemons.reduce<number | null>((sum, { pid }) => {
      const own = processorMs(pid);
      return sum === null || own === null ? null : sum + own;
    }, 0),
    postgresMs: serverProcessorMs(postgres.postmasterPid),
  };
}
