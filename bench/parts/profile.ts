/** Where the time of a sync goes: the daemon's processor time by parts of the code, PostgreSQL's by statements. */
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { queryNames, sqlOf } from "../../src/db/queries.ts";
import type { Contender } from "../contenders/contender.ts";
import { ensureWaiting } from "../contenders/templates.ts";
import { type Database, IS_OF_CONTENDER } from "../lab/postgres.ts";
import { measureDrain } from "../measure/drain.ts";
import type { Metric } from "../measure/observations.ts";
import { type CpuProfile, readProfile } from "../measure/profile.ts";
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
    const database = await lab.postgres.createDatabase(
      "bench",
      await ensureWaiting(lab.postgres, contender, accounts),
    );

    lab.log("profile: PostgreSQL");
    await database.query("create extension if not exists pg_stat_statements");
    await lab.postgres.configure({ "pg_stat_statements.track": "top" });
    await database.query("select pg_stat_statements_reset()");
    const drain = async (profiled: Contender) =>
      await measureDrain({
        ...lab,
        contender: profiled,
        database,
        accounts,
        concurrency: CONCURRENCY,
        delayMs: DELAY_MS,
      });
    await drain(contender);
    await observeStatements(database, accounts, observe);
    await lab.postgres.configure({ "pg_stat_statements.track": "none" });
    await database.drop();

    return { flame: await profileDaemon(lab, contender, accounts, observe) };
  },
};

async function observeStatements(
  database: Database,
  accounts: number,
  observe: Observe,
): Promise<void> {
  const shapes = queryNames().map((name) => ({ name, shape: toShape(sqlOf(name)) }));
  const rows = await database.query<{ query: string; ms: number }>(STATEMENT_TIMES);
  const times = new Map<string, number>();
  for (const { query, ms } of rows) {
    const name = findName(shapes, toShape(query));
    times.set(name, (times.get(name) ?? 0) + ms);
  }
  for (const [name, ms] of [...times].sort(([, a], [, b]) => b - a)) {
    observeTime(observe, name, "PostgreSQL µs/account", (ms * 1_000) / accounts);
  }
}

const STATEMENT_TIMES = `
  select query, total_exec_time as ms
  from pg_stat_statements
  where ${IS_OF_CONTENDER}`;

/** pg_stat_statements keeps a statement with parameters for its constants, and of a list of them the first: most of it is as it was sent. */
const ALIKE_MIN = 40;

/** The file whose statement this one begins like. */
function findName(
  shapes: readonly { readonly name: string; readonly shape: string }[],
  shape: string,
): string {
  const alike = shapes.map((one) => ({ name: one.name, length: countAlike(one.shape, shape) }));
  const most = alike.reduce((best, one) => (one.length > best.length ? one : best));
  return most.length >= ALIKE_MIN ? most.name : "other";
}

function countAlike(one: string, other: string): number {
  const differs = [...one].findIndex((character, index) => character !== other[index]);
  return differs === -1 ? one.length : differs;
}

function toShape(sql: string): string {
  return sql
    .replaceAll(/--.*$/gm, "")
    .replaceAll(/'[^']*'|\$\d+|\b\d+(?:\.\d+)?\b/g, "?")
    .replaceAll(/\s+/g, " ")
    .trim();
}

async function profileDaemon(lab: Lab, contender: Contender, accounts: number, observe: Observe) {
  lab.log("profile: the daemon");
  const database = await lab.postgres.createDatabase(
    "bench",
    await ensureWaiting(lab.postgres, contender, accounts),
  );
  const directory = await mkdtemp(join(tmpdir(), "account-sync-bench-profile-"));
  try {
    const { start } = contender;
    if (start === null) throw new Error(`${contender.name} has no daemon`);
    await measureDrain({
      ...lab,
      contender: {
        ...contender,
        start: (options) =>
          start({
            ...options,
            settings: { NODE_OPTIONS: `--cpu-prof --cpu-prof-dir=${directory}` },
          }),
      },
      database,
      accounts,
      concurrency: CONCURRENCY,
      delayMs: DELAY_MS,
    });
    const { firstAtMs, lastAtMs } = await lab.api.counts();
    const [file] = await readdir(directory);
    if (file === undefined) throw new Error("The daemon has written no profile");
    const written = JSON.parse(await readFile(join(directory, file), "utf8")) as CpuProfile;
    const { areas, flame } = readProfile(written, {
      fromMs: firstAtMs ?? 0,
      toMs: lastAtMs ?? 0,
    });
    for (const [area, ms] of [...areas].sort(([, a], [, b]) => b - a)) {
      observeTime(observe, area, "daemon µs/account", (ms * 1_000) / accounts);
    }
    return flame;
  } finally {
    await rm(directory, { recursive: true, force: true });
    await database.drop();
  }
}

function observeTime(observe: Observe, scenario: string, metric: Metric, value: number): void {
  if (value >= MICROSECONDS_MIN) observe({ scenario, contender: "account-sync", metric, value });
}
