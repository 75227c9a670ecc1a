/**
 * pg-boss: each row trigger inserts a job with the account as its singleton key into a queue of policy `short`, which holds one waiting
 * job per key. Its documentation names SQL inserts, from triggers too, as a way to create jobs, with the columns of the queue's row that
 * an insert by hand has to copy (https://pgboss.io/sql/job-table).
 */
import { PgBoss } from "pg-boss";
import { startModule } from "../lab/children.ts";
import type { Contender } from "./contender.ts";
import { installRowTriggers } from "./row-triggers.ts";

export const pgBoss: Contender = {
  name: "pg-boss",
  install: async (database) => {
    const boss = new PgBoss({ connectionString: database.url, supervise: false, schedule: false });
    await boss.start();
    await boss.createQueue("sync_account", { policy: "short" });
    await boss.stop();
    await installRowTriggers(
      database,
      `insert into pgboss.job (name, data, singleton_key, policy)
       values ('sync_account', jsonb_build_object('id', account_id), account_id::text, 'short')
       on conflict do nothing;`,
    );
  },
  start: ({ databaseUrl, apiUrl, concurrency }) =>
    startModule("daemons/pg-boss.ts", {
      DATABASE_URL: databaseUrl,
      API_URL: apiUrl,
      CONCURRENCY: String(concurrency),
      BATCHES: "4",
    }),
  isDurable: true,
  pendingQuery: "select exists (select from pgboss.job where state < 'completed') as pending",
  concurrencyMax: Number.POSITIVE_INFINITY,
  writes: { hasSlowFlush: false, updateRowsMax: 10_000 },
};
