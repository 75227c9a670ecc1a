/**
 * graphile-worker: each row trigger adds a job with the account as its job key, so that edits before the job runs are one job
 * (https://worker.graphile.org/docs/sql-add-job and /docs/job-key).
 */
import { runMigrations } from "graphile-worker";
import { startModule } from "../lab/children.ts";
import type { Contender } from "./contender.ts";
import { installRowTriggers } from "./row-triggers.ts";

export const graphileWorker: Contender = {
  name: "graphile-worker",
  install: async (database) => {
    await runMigrations({ connectionString: database.url });
    await installRowTriggers(
      database,
      `perform graphile_worker.add_job(
         'sync_account', json_build_object('id', account_id), job_key := 'account:' || account_id
       );`,
    );
  },
  start: ({ databaseUrl, apiUrl, concurrency }) =>
    startModule("daemons/graphile-worker.ts", {
      DATABASE_URL: databaseUrl,
      API_URL: apiUrl,
      CONCURRENCY: String(concurrency),
      LOCAL_QUEUE_SIZE: "500",
      BATCH_DELAY_MS: "0",
    }),
  isDurable: true,
  pendingQuery: "select exists (select from graphile_worker._private_jobs) as pending",
  concurrencyMax: Number.POSITIVE_INFINITY,
  writes: { hasSlowFlush: false, updateRowsMax: 10_000 },
};
