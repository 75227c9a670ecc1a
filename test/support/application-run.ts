/** Runs the plan of an application (application.ts) on the database, and counts how often each account may have changed by it. */
import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";
import type { PlannedTransaction } from "./application.ts";
import type { TestDatabase } from "./postgres.ts";

export interface Limits {
  readonly lockTimeoutMs: number;
  readonly statementTimeoutMs: number;
}

export function createApplication(database: TestDatabase, changes: ChangeCount) {
  const application = {
    failures: [] as string[],
    count: 0,
    slowestMs: 0,

    async runAll(
      transactions: readonly PlannedTransaction[],
      writer: number,
      limits: Limits,
    ): Promise<void> {
      const client = await connect(database, writer, limits);
      for (const transaction of transactions) {
        // The application's own pace.
        await sleep(transaction.pauseMs);
        if (!(await runOne(client, transaction, writer))) break;
      }
      await client.end();
    },

    async run(transaction: PlannedTransaction, writer: number, limits: Limits): Promise<void> {
      await application.runAll([transaction], writer, limits);
    },
  };

  /** Resolves false when the writer has to stop, as later transactions depend on one that failed. */
  async function runOne(
    client: pg.Client,
    { name, steps, ends, touches }: PlannedTransaction,
    writer: number,
  ): Promise<boolean> {
    application.count += 1;
    // Counted before the commit: its request may be sent before the commit is confirmed.
    if (ends === "commit") changes.add(touches);
    try {
      // A single statement commits by itself.
      const isWhole = steps.length > 1 || ends === "rollback";
      if (isWhole) await client.query("begin");
      for (const step of steps) {
        if ("holdMs" in step) {
          // A transaction that the application holds open.
          await sleep(step.holdMs);
          continue;
        }
        const beganAt = performance.now();
        try {
          await client.query(step.sql, step.params === undefined ? [] : [...step.params]);
        } catch (error) {
          if (step.fails === undefined || (error as pg.DatabaseError).code !== step.fails)
            throw error;
        }
        application.slowestMs = Math.max(application.slowestMs, performance.now() - beganAt);
      }
      if (isWhole) await client.query(ends);
      return true;
    } catch (error) {
      const { code = "", message } = error as pg.DatabaseError;
      application.failures.push(`writer ${writer}, ${name}: ${code} ${message}`);
      return false;
    }
  }

  return application;
}

async function connect(
  database: TestDatabase,
  writer: number,
  { lockTimeoutMs, statementTimeoutMs }: Limits,
): Promise<pg.Client> {
  const client = new pg.Client({
    connectionString: database.url,
    application_name: `application ${writer}`,
    statement_timeout: statementTimeoutMs,
    options: `-c lock_timeout=${lockTimeoutMs}`,
  });
  client.on("error", () => {});
  await client.connect();
  return client;
}

export interface ChangeCount {
  add(touches: PlannedTransaction["touches"]): void;
  of(code: string): number;
  snapshot(): (code: string) => number;
  since(before: (code: string) => number, code: string): number;
}

/** How often an account may have changed, by what the application has committed. */
export function createChangeCount(): ChangeCount {
  let ofAll = 0;
  const ofOne = new Map<string, number>();
  const of = (code: string) => ofAll + (ofOne.get(code) ?? 0);
  return {
    add(touches) {
      if (touches === "all") ofAll += 1;
      else for (const code of touches) ofOne.set(code, (ofOne.get(code) ?? 0) + 1);
    },
    of,
    snapshot() {
      const [all, one] = [ofAll, new Map(ofOne)];
      return (code) => all + (one.get(code) ?? 0);
    },
    since: (before, code) => of(code) - before(code),
  };
}
