/**
 * graphile-worker as its documentation advises where throughput matters (https://worker.graphile.org/docs/performance): a local queue that
 * fetches jobs in batches, and completed jobs released in batches. Sizes and delays are those of its own benchmark, which were the
 * fastest here too; as many jobs at a time as requests in flight; a pool of that and two, as the comment on maxPoolSize says.
 */
import { run } from "graphile-worker";
import { serveParent, setting } from "./parent.ts";
import { createPeerSync } from "./sync-one.ts";

const databaseUrl = setting("DATABASE_URL");
const concurrency = Number(setting("CONCURRENCY"));
const sync = createPeerSync({ databaseUrl, apiUrl: setting("API_URL"), concurrency });

await run({
  preset: {
    worker: {
      connectionString: databaseUrl,
      concurrentJobs: concurrency,
      maxPoolSize: concurrency + 2,
      localQueue: { size: Number(setting("LOCAL_QUEUE_SIZE")) },
      completeJobBatchDelay: Number(setting("BATCH_DELAY_MS")),
      failJobBatchDelay: Number(setting("BATCH_DELAY_MS")),
    },
  },
  taskList: {
    sync_account: (payload) => sync.syncOne((payload as { id: string }).id),
  },
});
serveParent();
