/** What an account's sync asks of the database, in numbers that do not depend on the machine's mood. */
import type { Contender } from "../contenders/contender.ts";
import { ensureWaiting } from "../contenders/templates.ts";
import { type Database, IS_OF_CONTENDER } from "../lab/postgres.ts";
import { measureDrain } from "../measure/drain.ts";
import type { Metric } from "../measure/observations.ts";
import { type Lab, type Observe, type Part, scaled } from "./part.ts";

const CONCURRENCY = 32;
const DELAY_MS = 20;

export const database: Part = {
  name: "database",
  async run(lab, observe) {
    await lab.postgres.configure({ "pg_stat_statements.track": "top" });
    for (const contender of lab.contenders.filter(({ isDurable }) => isDurable)) {
      // Counts hardly differ from round to round: two show whether they do.
      for (let round = 1; round <= Math.min(lab.rounds, 2); round += 1) {
        lab.log(`database, round ${round}: ${contender.name}`);
        await countOnce(lab, contender, observe);
      }
    }
    await lab.postgres.configure({ "pg_stat_statements.track": "none" });
  },
};

async function countOnce(lab: Lab, contender: Contender, observe: Observe): Promise<void> {
  const { postgres } = lab;
  const accounts = scaled(lab, 5_000, 1_000);
  const opened = await postgres.createDatabase(
    "bench",
    await ensureWaiting(postgres, contender, accounts),
  );
  await opened.query("create extension if not exists pg_stat_statements");
  await opened.query("select pg_stat_statements_reset()");
  const walBefore = await postgres.walBytes();
  await measureDrain({
    ...lab,
    contender,
    database: opened,
    accounts,
    concurrency: CONCURRENCY,
    delayMs: DELAY_MS,
  });
  const walAfter = await postgres.walBytes();

  const [row] = await opened.query<Record<string, string>>(COUNTS);
  const report = (metric: Metric, value: number) =>
    observe({ scenario: "first sync", contender: contender.name, metric, value });
  report("statements/account", Number(row?.["calls"]) / accounts);
  report("buffers/account", Number(row?.["buffers"]) / accounts);
  report("WAL bytes/account", (walAfter - walBefore) / accounts);
  report("transactions/account", Number(row?.["transactions"]) / accounts);
  if (contender.name === "account-sync") {
    report("queue bytes/account", (await bytesOf(opened, "account")) / accounts);
    report("id mapping bytes/account", (await bytesOf(opened, "mapped_id")) / accounts);
    report("history bytes/sync", (await bytesOf(opened, "attempt")) / accounts);
  }
  await opened.drop();
}

/** Statements as they come from clients; what functions and triggers do counts with them. What the bench asks does not. */
const COUNTS = `
  select
    sum(s.calls) as calls,
    sum(s.shared_blks_hit + s.shared_blks_read) as buffers,
    (select xact_commit from pg_stat_database where datname = current_database()) as transactions
  from pg_stat_statements s
  where ${IS_OF_CONTENDER}`;

/** Of a table with its indexes, without what is free in it. */
async function bytesOf(database: Database, table: string): Promise<number> {
  await database.query(`vacuum full account_sync.${table}`);
  const [row] = await database.query<{ bytes: number }>(
    "select pg_total_relation_size($1::regclass)::float8 as bytes",
    [`account_sync.${table}`],
  );
  return row?.bytes ?? 0;
}
