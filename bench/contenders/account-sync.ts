/** This product with its defaults: journal, validation and all. Only the number of requests in flight is what every contender has. */
import { migrate } from "../../src/db/migrate.ts";
import { sqlOf } from "../../src/db/queries.ts";
import { type Child, startProduct } from "../lab/children.ts";
import type { Database } from "../lab/postgres.ts";
import { until } from "../measure/wait.ts";
import type { Contender, DaemonOptions } from "./contender.ts";

export const accountSync: Contender = {
  name: "account-sync",
  install: async (database) => {
    await migrate({ url: database.url, info: () => {} });
  },
  start: startDaemon,
  isDurable: true,
  pendingQuery: `select exists (select from account_sync.change)
    or exists (select from account_sync.expansion)
    or exists (select from account_sync.account where changed_at is not null) as pending`,
  concurrencyMax: Number.POSITIVE_INFINITY,
  writes: {
    states: [
      { name: "stopped", enter: () => Promise.resolve(null) },
      { name: "resting", enter: askForTheDoorbell },
      { name: "folding", enter: startFolding },
    ],
    hasSlowFlush: true,
    updateRowsMax: 100_000,
  },
};

async function startDaemon(options: DaemonOptions): Promise<Child> {
  return await startProduct(
    ["start"],
    {
      DATABASE_URL: options.databaseUrl,
      CUSTOMER_API_URL: options.apiUrl,
      CUSTOMER_API_TOKEN: "bench",
      SYNC_CONCURRENCY: String(options.concurrency),
      HTTP_PORT: "0",
      LOG_FORMAT: "json",
      ...options.settings,
    },
    /"msg":"started"/,
  );
}

const HOUR_MS = 3_600_000;

/** A daemon under load stops asking, so its request is made here, and stands for the whole measurement. */
async function askForTheDoorbell(database: Database): Promise<null> {
  await database.query(sqlOf("want_doorbell"), [HOUR_MS]);
  return null;
}

/** A daemon for which nothing falls due before a measurement is over: it folds, and that is all. */
export async function startFolding(database: Database, apiUrl: string): Promise<Child> {
  return await startDaemon({
    databaseUrl: database.url,
    apiUrl,
    concurrency: 16,
    accounts: 0,
    settings: { SYNC_QUIET_PERIOD_MS: "600000", SYNC_MAX_WAIT_MS: "600000" },
  });
}

export async function waitUntilFolded(database: Database): Promise<void> {
  await until("the folding", 50, async () => {
    const [row] = await database.query<{ left: number }>(
      "select count(*)::integer as left from account_sync.change",
    );
    return { answer: row?.left === 0 ? true : null, progress: row?.left ?? 0 };
  });
}
