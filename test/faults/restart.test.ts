/** The process is killed, stopped and replaced, at the worst moments; what it was doing is done once. */
import { afterEach, expect, test } from "vitest";
import { type Sandbox, startSandbox } from "../../src/local/sandbox.ts";
import { externalIds, insertAccount, insertAccounts } from "../support/accounts.ts";
import { eventually } from "../support/eventually.ts";
import { createDatabase, type TestDatabase } from "../support/postgres.ts";
import { type RunningProcess, startProcess } from "../support/process.ts";
import { apiEnvironment, readMetric } from "../support/product.ts";

const cleanups: (() => Promise<void>)[] = [];

afterEach(async () => {
  for (const cleanUp of cleanups.splice(0)) await cleanUp();
});

test("killed while the API is at work, started again: the account is there once, with its ids, within seconds", async () => {
  const { database, sandbox, start } = await createParts();
  sandbox.setFaults({ next: [{ delayMs: 60_000 }] });
  const first = await start();
  const id = await insertAccount(database);
  await eventually(() => expect(sandbox.counts().inWork).toBe(1));

  first.signal("SIGKILL");
  await first.exit;
  await start();
  const startedAt = performance.now();
  await eventually(async () => expect((await externalIds(database, id)).account).not.toBeNull(), {
    timeoutMs: 15_000,
  });

  expect(performance.now() - startedAt).toBeLessThan(5_000);
  expect(sandbox.customers()).toHaveLength(1);
  const keys = sandbox
    .history()
    .filter((request) => request.operation === "create")
    .map((request) => request.key);
  expect(new Set(keys).size).toBe(1);
});

test("killed when the API had applied the create: no second customer", async () => {
  const { database, sandbox, start } = await createParts();
  // Applied at once, answered too late.
  sandbox.setFaults({ next: [{ applied: true, hang: true }] });
  const first = await start();
  const id = await insertAccount(database);
  await eventually(() => expect(sandbox.customers()).toHaveLength(1));

  first.signal("SIGKILL");
  await first.exit;
  await start();
  await eventually(
    async () => expect((await externalIds(database, id)).account).toBe(sandbox.customers()[0]?.id),
    { timeoutMs: 15_000 },
  );

  expect(sandbox.customers()).toHaveLength(1);
});

test("killed again and again at random while 200 accounts are synced: each one is there once, with its own ids", async () => {
  const { database, sandbox, start } = await createParts();
  sandbox.setFaults({ always: { delayMs: 15 } });
  let daemon = await start({ SYNC_CONCURRENCY: "4" });
  await insertAccounts(database, 200);

  for (let kill = 0; kill < 5; kill += 1) {
    const before = sandbox.customers().length;
    await eventually(() => expect(sandbox.customers().length).toBeGreaterThan(before + 10 + kill), {
      timeoutMs: 20_000,
      intervalMs: 3,
    });
    daemon.signal("SIGKILL");
    await daemon.exit;
    daemon = await start({ SYNC_CONCURRENCY: "4" });
  }
  await eventually(
    async () => {
      const [row] = await database.query(
        "select count(*)::int as missing from m_account where uuid_be is null",
      );
      expect(row?.["missing"]).toBe(0);
    },
    { timeoutMs: 30_000 },
  );

  expect(sandbox.customers()).toHaveLength(200);
  const rows = await database.query<{ account_no: string; uuid_be: string }>(
    "select account_no, uuid_be from m_account",
  );
  const byCode = new Map(sandbox.customers().map((customer) => [customer.code, customer.id]));
  for (const row of rows) expect(row.uuid_be).toBe(byCode.get(row.account_no));
});

test("SIGTERM finishes what is in flight and leaves with 0", async () => {
  const { database, sandbox, start } = await createParts();
  sandbox.setFaults({ next: [{ delayMs: 60_000 }] });
  const daemon = await start();
  const id = await insertAccount(database);
  await eventually(() => expect(sandbox.counts().inWork).toBe(1));

  daemon.signal("SIGTERM");
  await daemon.waitForLine(/draining/);
  sandbox.clearFaults();
  const { code } = await daemon.exit;

  expect(code).toBe(0);
  expect((await externalIds(database, id)).account).toBe(sandbox.customers()[0]?.id);
  const [row] = await database.query("select state from account_sync.status");
  expect(row?.["state"]).toBe("clean");
});

test("a second SIGTERM leaves at once", async () => {
  const { database, sandbox, start } = await createParts();
  sandbox.setFaults({ next: [{ hang: true }] });
  const daemon = await start();
  await insertAccount(database);
  await eventually(() => expect(sandbox.counts().inWork).toBe(1));

  daemon.signal("SIGTERM");
  await daemon.waitForLine(/draining/);
  const startedAt = performance.now();
  // Within 150 ms of the first, a signal is its echo.
  await eventually(async () => {
    daemon.signal("SIGTERM");
    expect(await Promise.race([daemon.exit, null])).not.toBeNull();
  });

  expect(performance.now() - startedAt).toBeLessThan(1_000);
});

test("a daemon's accounts are taken over by another one when it dies, long before its leases end", async () => {
  const { database, sandbox, start } = await createParts();
  sandbox.setFaults({ next: [{ hang: true }] });
  const first = await start();
  const id = await insertAccount(database);
  await eventually(() => expect(sandbox.counts().inWork).toBe(1));
  await start();

  first.signal("SIGKILL");
  const killedAt = performance.now();
  await eventually(async () => expect((await externalIds(database, id)).account).not.toBeNull(), {
    timeoutMs: 20_000,
  });

  expect(performance.now() - killedAt).toBeLessThan(15_000);
  expect(sandbox.customers()).toHaveLength(1);
});

interface ProcessParts {
  readonly database: TestDatabase;
  readonly sandbox: Sandbox;
  /** Starts the real process with the default lease of 30 s, and resolves when it is ready. */
  start(environment?: Readonly<Record<string, string>>): Promise<RunningProcess>;
}

async function createParts(): Promise<ProcessParts> {
  const database = await createDatabase();
  const sandbox = await startSandbox();
  const running: RunningProcess[] = [];
  cleanups.push(async () => {
    for (const daemon of running) daemon.signal("SIGKILL");
    await Promise.all(running.map((daemon) => daemon.exit));
    await sandbox.close();
  });

  return {
    database,
    sandbox,
    async start(environment = {}) {
      const daemon = startProcess({
        args: ["start"],
        env: {
          ...apiEnvironment(sandbox),
          DATABASE_URL: database.url,
          CUSTOMER_API_UNKNOWN_OUTCOME: "resend",
          SYNC_QUIET_PERIOD_MS: "50",
          SYNC_BACKOFF_MIN_MS: "50",
          SYNC_BACKOFF_MAX_MS: "500",
          HTTP_PORT: "0",
          ...environment,
        },
      });
      running.push(daemon);
      const line = await daemon.waitForLine(/"msg":"started"/, 20_000);
      await eventually(() => readMetric(JSON.parse(line).url, "build_info"));
      return daemon;
    },
  };
}
