/**
 * pg-boss as its documentation offers it where throughput matters: batches are fetched and completed whole, the next one at once while
 * batches come back full, several side by side so that requests go on while one is completed. The requests of all batches together are
 * bounded like everyone's.
 */
import { PgBoss } from "pg-boss";
import { serveParent, setting } from "./parent.ts";
import { createPeerSync } from "./sync-one.ts";

const databaseUrl = setting("DATABASE_URL");
const concurrency = Number(setting("CONCURRENCY"));
const sync = createPeerSync({ databaseUrl, apiUrl: setting("API_URL"), concurrency });
const boss = new PgBoss({ connectionString: databaseUrl });
boss.on("error", () => {});

await boss.start();
await boss.work<{ id: string }>(
  "sync_account",
  {
    batchSize: concurrency,
    localConcurrency: Number(setting("BATCHES")),
    burstWhenBatchFull: true,
    // The shortest there is: jobs that a trigger inserts ring no bell.
    pollingIntervalSeconds: 0.5,
  },
  async (jobs) => {
    await Promise.all(jobs.map(({ data }) => withSlot(() => sync.syncOne(data.id))));
  },
);
serveParent();

let free = concurrency;
const waiting: (() => void)[] = [];

async function withSlot(work: () => Promise<void>): Promise<void> {
  if (free > 0) free -= 1;
  else await new Promise<void>((resolve) => waiting.push(resolve));
  try {
    await work();
  } finally {
    const next = waiting.shift();
    if (next === undefined) free += 1;
    else next();
  }
}
