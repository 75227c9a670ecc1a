/** What stays the same when there is more of everything: a longer queue, a million changes at the start, more daemons. */
import { setTimeout as sleep } from "node:timers/promises";
import { startFolding, waitUntilFolded } from "../contenders/account-sync.ts";
import type { Contender } from "../contenders/contender.ts";
import { ensureInstalled, ensureWaiting } from "../contenders/templates.ts";
import { nowMs } from "../daemons/parent.ts";
import type { Database } from "../lab/postgres.ts";
import { residentMiB } from "../lab/processor-time.ts";
import { measureDrain } from "../measure/drain.ts";
import type { Metric } from "../measure/observations.ts";
import { type Lab, type Observe, type Part, scaled } from "./part.ts";

const CONCURRENCY = 32;

export const scalePart: Part = {
  name: "scale",
  async run(lab, observe) {
    const contender = lab.contenders.find(({ name }) => name === "account-sync");
    if (contender === undefined) return;

    await measureDaemons(lab, contender, observe);
    await measureQueues(lab, contender, observe);
    await measureManyChanges(lab, contender, observe);
  },
};

/**
 * One, two and four daemons on one queue, in turns. Behind a slow API the daemons are hardly busy, and only the queue between them could keep
 * them from being as fast together as each is alone.
 */
async function measureDaemons(lab: Lab, contender: Contender, observe: Observe): Promise<void> {
  const apis = [
    { delayMs: 20, accounts: scaled(lab, 20_000, 2_000) },
    { delayMs: 200, accounts: scaled(lab, 2_000, 1_000) },
  ];
  for (let round = 1; round <= Math.min(lab.rounds, 3); round += 1) {
    for (const { delayMs, accounts } of apis) {
      for (const daemons of [1, 2, 4]) {
        lab.log(`scale, API ${delayMs} ms, round ${round}: ${daemons} daemons`);
        const database = await lab.postgres.createDatabase(
          "bench",
          await ensureWaiting(lab.postgres, contender, accounts),
        );
        const { accountsPerSecond } = await measureDrain({
          ...lab,
          contender,
          database,
          accounts,
          concurrency: CONCURRENCY,
          delayMs,
          daemons,
        });
        observe({
          scenario: `${daemons} daemons, API ${delayMs} ms`,
          contender: contender.name,
          metric: "accounts/s",
          value: accountsPerSecond,
        });
        await database.drop();
      }
    }
  }
}

/** Some thousand accounts that are due first, and behind them ever more that are due as well. */
async function measureQueues(lab: Lab, contender: Contender, observe: Observe): Promise<void> {
  const accounts = scaled(lab, 4_000, 1_000);
  const lengths = lab.quick ? [1_000, 100_000] : [1_000, 10_000, 100_000, 1_000_000];
  for (let round = 1; round <= Math.min(lab.rounds, 3); round += 1) {
    for (const length of lengths) {
      lab.log(`scale, round ${round}: ${length} accounts due`);
      const database = await lab.postgres.createDatabase(
        "bench",
        await ensureWaiting(lab.postgres, contender, accounts),
      );
      await queueBehind(database, length);
      const { accountsPerSecond, postgresMs } = await measureDrain({
        ...lab,
        contender: { ...contender, pendingQuery: SOME_WITHOUT_ID },
        database,
        accounts,
        concurrency: CONCURRENCY,
        delayMs: 0,
      });
      const common = {
        scenario: `${length.toLocaleString("en")} more accounts due`,
        contender: contender.name,
      };
      observe({ ...common, metric: "accounts/s", value: accountsPerSecond });
      if (postgresMs !== null) {
        observe({ ...common, metric: "PostgreSQL CPU ms/account", value: postgresMs });
      }
      await database.drop();
    }
  }
}

const SOME_WITHOUT_ID = "select exists (select from m_account where uuid_be is null) as pending";

/** Accounts without a source row, due after all others: claimed last, and until then only in the way. */
async function queueBehind(database: Database, length: number): Promise<void> {
  await database.query(
    `insert into account_sync.account (account_id, lane, changed_at, last_changed_at, due_at)
     select gen_random_uuid()::text, 'backfill', now(), now(), now() from generate_series(1, $1::integer)`,
    [length],
  );
  await database.query("vacuum (analyze) account_sync.account");
}

/** A start with a million changes that are not folded yet, and what the tables and the daemon have grown to when they are. */
async function measureManyChanges(lab: Lab, contender: Contender, observe: Observe): Promise<void> {
  const accounts = scaled(lab, 100_000, 20_000);
  const times = lab.quick ? 5 : 10;
  lab.log(`scale: ${accounts * times} changes`);
  const database = await lab.postgres.createDatabase(
    "bench",
    await ensureInstalled(lab.postgres, contender, accounts),
  );
  const makeChanges = async () => {
    for (let time = 0; time < times; time += 1) {
      await database.query("update m_account set name = 'Toko ' || random()");
    }
  };
  const report = (metric: Metric, value: number) =>
    observe({
      scenario: `${(accounts * times).toLocaleString("en")} changes`,
      contender: contender.name,
      metric,
      value,
    });

  await makeChanges();
  const daemon = await startFolding(database, lab.api.url);
  try {
    const startedAtMs = nowMs();
    await waitUntilFolded(database);
    report("folded at the start, changes/s", (accounts * times * 1_000) / (nowMs() - startedAtMs));
    report("tables after the start, MiB", await tablesMiB(database));
    report("memory after the start, MiB", residentMiB(daemon.pid) ?? 0);

    // The same again, while the daemon runs: what is bounded has not grown.
    await makeChanges();
    await waitUntilFolded(database);
    await sleep(1_000);
    report("tables after as many again, MiB", await tablesMiB(database));
    report("memory after as many again, MiB", residentMiB(daemon.pid) ?? 0);
  } finally {
    await daemon.stop();
    await database.drop();
  }
}

async function tablesMiB(database: Database): Promise<number> {
  const [row] = await database.query<{ mib: number }>(
    `select (sum(pg_total_relation_size(c.oid)) / 1024 ^ 2)::float8 as mib
     from pg_class c where c.relnamespace = 'account_sync'::regnamespace and c.relkind = 'r'`,
  );
  return row?.mib ?? 0;
}
