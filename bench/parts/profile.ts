/** Where the time of a sync goes: the daemon's processor time by parts of the code, PostgreSQL's by statements. */
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { queryNames, sqlOf } from "../../src/db/queries.ts";
import type { Contender, DaemonOptions } from "../contenders/contender.ts";
import { ensureWaiting } from "../contenders/templates.ts";
import { type Database, IS_OF_CONTENDER } from "../lab/postgres.ts";
import { measureDrain } from "../measure/drain.ts";
import type { Metric } from "../measure/observations.ts";
import { type CpuProfile, type Flame, readProfile } from "../measure/profile.ts";
import { type Lab, type Observe, type Part, scaled } from "./part.ts";

const CONCURRENCY = 32;
const DELAY_MS = 20;
/** What takes less for an account is left out of the table. */
const MICROSECONDS_MIN = 1;

export const profile: Part = {
  name: "profile",
  async run(lab, observe) {
    const contender = lab.contenders.find(({ name }) => name === "account-sync");
    if (contender === undefined) return {};
    const accounts = scaled(lab, 20_000, 4_000);

    await timeStatements(lab, contender, accounts, observe);
    return { flame: await profileDaemon(lab, contender, accounts, observe) };
  },
};

async function timeStatements(
  lab: Lab,
  contender: Contender,
  accounts: number,
  observe: Observe,
): Promise<void> {
  lab.log("profile: PostgreSQL");
  const database = await openWaiting(lab, contender, accounts);
  await database.query("create extension if not exists pg_stat_statements");
  await lab.postgres.configure({ "pg_stat_statements.track": "top" });
  await database.query("select pg_stat_statements_reset()");
  await drain(lab, contender, database, accounts);
  await lab.postgres.configure({ "pg_stat_statements.track": "none" });

  const rows = await database.query<{ id: string; ms: number }>(STATEMENT_TIMES);
  const names = await readStatementNames(database);
  observeTimes(
    observe,
    "PostgreSQL µs/account",
    accounts,
    rows.map(({ id, ms }) => [names.get(id) ?? "other", ms]),
  );
  await database.drop();
}

const STATEMENT_TIMES = `
  select queryid::text as id, total_exec_time as ms
  from pg_stat_statements
  where ${IS_OF_CONTENDER}`;

/** The files of sql/queries by the id that the server gives their statements, whatever the constants. */
async function readStatementNames(database: Database): Promise<ReadonlyMap<string, string>> {
  const names = new Map<string, string>();
  for (const name of queryNames()) {
    const rows = await database.query<Record<string, string>>(
      `explain (verbose, generic_plan) ${sqlOf(name)}`,
    );
    const lines = rows.map((row) => row["QUERY PLAN"] ?? "").join("\n");
    const id = /^Query Identifier: (.+)$/m.exec(lines)?.[1];
    if (id === undefined) throw new Error(`The server gave ${name}.sql no id:\n${lines}`);
    names.set(id, name);
  }
  return names;
}

async function profileDaemon(
  lab: Lab,
  contender: Contender,
  accounts: number,
  observe: Observe,
): Promise<Flame> {
  lab.log("profile: the daemon");
  const { start } = contender;
  if (start === null) throw new Error(`${contender.name} has no daemon`);
  const directory = await mkdtemp(join(tmpdir(), "account-sync-bench-profile-"));
  const settings = { NODE_OPTIONS: `--cpu-prof --cpu-prof-dir=${directory}` };
  const profiled = {
    ...contender,
    start: (options: DaemonOptions) => start({ ...options, settings }),
  };
  try {
    const database = await openWaiting(lab, contender, accounts);
    await drain(lab, profiled, database, accounts);
    await database.drop();

    const { firstAtMs, lastAtMs } = await lab.api.counts();
    const window = { fromMs: firstAtMs ?? 0, toMs: lastAtMs ?? 0 };
    const { areas, flame } = readProfile(await readMainThread(directory), window);
    observeTimes(observe, "daemon µs/account", accounts, [...areas]);
    return flame;
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

/** Each thread writes a file; the second number from the end is the thread's, and 0 is the main one. */
async function readMainThread(directory: string): Promise<CpuProfile> {
  const files = await readdir(directory);
  const file = files.find((name) => /\.0\.\d+\.cpuprofile$/.test(name));
  if (file === undefined) throw new Error(`The daemon has written no profile, but ${files}`);
  return JSON.parse(await readFile(join(directory, file), "utf8")) as CpuProfile;
}

async function openWaiting(lab: Lab, contender: Contender, accounts: number): Promise<Database> {
  const template = await ensureWaiting(lab.postgres, contender, accounts);
  return await lab.postgres.createDatabase("bench", template);
}

async function drain(
  lab: Lab,
  contender: Contender,
  database: Database,
  accounts: number,
): Promise<void> {
  await measureDrain({
    ...lab,
    contender,
    database,
    accounts,
    concurrency: CONCURRENCY,
    delayMs: DELAY_MS,
  });
}

/** The longest first; what has the same name is one. */
function observeTimes(
  observe: Observe,
  metric: Metric,
  accounts: number,
  times: readonly (readonly [name: string, ms: number])[],
): void {
  const sums = new Map<string, number>();
  for (const [name, ms] of times) sums.set(name, (sums.get(name) ?? 0) + ms);
  for (const [scenario, ms] of [...sums].sort(([, a], [, b]) => b - a)) {
    const value = (ms * 1_000) / accounts;
    if (value < MICROSECONDS_MIN) continue;
    observe({ scenario, contender: "account-sync", metric, value });
  }
}
