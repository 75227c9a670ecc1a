/**
 * F54: a transaction pooler that the application shares with us. Nothing that we do through it changes the application's sessions or
 * makes its statements fail; where we need a session of our own, one sentence says so.
 */
import pg from "pg";
import { afterEach, describe, expect, test } from "vitest";
import { migrate } from "../../src/db/migrate.ts";
import { insertAccount } from "../support/accounts.ts";
import { startDaemonProcess } from "../support/daemon-process.ts";
import { eventually } from "../support/eventually.ts";
import { expectFlawless } from "../support/fault-end.ts";
import {
  GUARD_SETTINGS,
  lacksPgBouncer,
  type PgBouncerOptions,
  startPgBouncer,
} from "../support/pgbouncer.ts";
import { createDatabase, type TestDatabase, withClient } from "../support/postgres.ts";
import { startProcess } from "../support/process.ts";
import { createProduct } from "../support/product.ts";

const POOL_SIZE = 8;
const NEEDS_SESSION = /DATABASE_URL goes through a transaction pooler.*LISTEN_DATABASE_URL/s;

const shared: PgBouncerOptions = { mode: "transaction", poolSize: POOL_SIZE };
/** As administrators set it up after the first refusal: settings at the start of a session are ignored. */
const lenient: PgBouncerOptions = { ...shared, ignores: GUARD_SETTINGS };

const applications: Application[] = [];

// A test that failed has not stopped its application.
afterEach(async () => {
  for (const application of applications.splice(0)) await application.stop();
});

describe.skipIf(lacksPgBouncer)("without a direct connection", () => {
  test.each([
    ["start", shared, 1, NEEDS_SESSION],
    ["start", lenient, 1, NEEDS_SESSION],
    ["migrate", shared, 1, NEEDS_SESSION],
    ["migrate", lenient, 1, NEEDS_SESSION],
    ["doctor", lenient, 1, /set LISTEN_DATABASE_URL/],
    ["status", shared, 0, /Nothing is pending/],
    ["backfill", lenient, 0, /marked|account/],
    ["reconcile", lenient, 0, /./],
    ["uninstall --yes", lenient, 0, /Removed schema/],
  ] as const)(
    "%s: the application goes on, and what it does is said",
    async (command, options, exitCode, says) => {
      const database = await createDatabase();
      await migrate({ url: database.url, info: () => {} });
      const url = await startPgBouncer(database.url, options);
      const application = startApplication(url);

      const run = startProcess({
        args: command.split(" "),
        env: {
          DATABASE_URL: url,
          CUSTOMER_API_URL: "http://127.0.0.1:9",
          CUSTOMER_API_TOKEN: "a-token",
          HTTP_PORT: "0",
        },
      });
      const { code } = await run.exit;
      const { errors, transactions } = await application.stop();

      expect([...run.stdout, ...run.stderr].join("\n")).toMatch(says);
      expect(code).toBe(exitCode);
      expect(errors).toEqual([]);
      expect(transactions).toBeGreaterThan(50);
      await expectUntouched(database, url);
    },
  );
});

test.skipIf(lacksPgBouncer)(
  "F54 with a direct connection beside it: 100 of 100 arrive while our sessions are ended, and the application sees no error",
  async () => {
    const product = await createProduct();
    const url = await startPgBouncer(product.database.url, lenient);
    const accounts = Array.from({ length: 100 }, (_, index) => `A-${index}`);
    const application = startApplication(url);
    const daemon = await startDaemonProcess(product, {
      DATABASE_URL: url,
      LISTEN_DATABASE_URL: product.database.url,
    });

    for (const [index, accountNo] of accounts.entries()) {
      await insertAccount(product.database, { accountNo, tiers: 1, pics: 1 });
      // Both have a session of their own: the listener, and the lock that shows that the daemon lives.
      if (index % 20 === 10) {
        await product.database.query(
          "select pg_terminate_backend(pid) from pg_stat_activity where application_name ~ '^account-sync .* (listener|liveness)$' and datname = current_database()",
        );
      }
    }
    await eventually(
      async () => {
        const [row] = await product.database.query<{ count: number }>(
          "select count(uuid_be)::int as count from m_account where account_no like 'A-%'",
        );
        expect(row?.count).toBe(accounts.length);
      },
      { timeoutMs: 60_000 },
    );
    const { errors, transactions } = await application.stop();

    expect(errors).toEqual([]);
    expect(transactions).toBeGreaterThan(100);
    daemon.signal("SIGTERM");
    expect(await daemon.exit).toMatchObject({ code: 0 });
    await expectUntouched(product.database, url);
    await expectFlawless(product, "F54", { tries: accounts.length, recoveryMs: null });
  },
);

test.skipIf(lacksPgBouncer)("a pooler that keeps sessions needs no second connection", async () => {
  const product = await createProduct();
  const url = await startPgBouncer(product.database.url, { mode: "session", poolSize: 20 });
  const daemon = await startDaemonProcess(product, { DATABASE_URL: url });
  await insertAccount(product.database, { accountNo: "A-1" });

  await eventually(async () => expect(await daemon.metric("listener_up")).toBe(1));
  await expectFlawless(product, "F54", { tries: 1, recoveryMs: null });
  daemon.signal("SIGTERM");
  expect(await daemon.exit).toMatchObject({ code: 0 });
});

test.each(["migrate", "start", "uninstall"])(
  "a direct connection that leads to another database is refused, and %s changes neither",
  async (command) => {
    const [one, other] = [await createDatabase(), await createDatabase()];

    const run = startProcess({
      args: [command],
      env: {
        DATABASE_URL: one.url,
        LISTEN_DATABASE_URL: other.url,
        CUSTOMER_API_URL: "http://127.0.0.1:9",
        CUSTOMER_API_TOKEN: "a-token",
        HTTP_PORT: "0",
      },
    });
    const { code } = await run.exit;

    expect(code).toBe(2);
    expect(run.stderr[0]).toBe(
      `error: LISTEN_DATABASE_URL leads to ${other.name}, and DATABASE_URL to ${one.name}.`,
    );
    for (const database of [one, other]) {
      expect(
        await database.query("select from pg_namespace where nspname = 'account_sync'"),
      ).toEqual([]);
    }
  },
);

test("a lock that another migrate left behind is named with its process", async () => {
  const database = await createDatabase();
  await withClient(database.url, async (holder) => {
    await holder.query("set application_name = 'left behind'");
    await holder.query("select pg_advisory_lock(7017561974736057439)");
    const [row] = (await holder.query("select pg_backend_pid() as pid")).rows;
    const said: string[] = [];
    const migrating = migrate({ url: database.url, info: (message) => said.push(message) });

    await eventually(() => expect(said).toHaveLength(1));
    expect(said[0]).toMatch(
      new RegExp(`^Waiting for process ${row.pid} \\(.*application left behind.*to install`),
    );
    await holder.query("select pg_advisory_unlock_all()");
    await migrating;
  });
});

interface Application {
  /** Ends it. Resolves with what it saw. */
  stop(): Promise<{ readonly errors: readonly string[]; readonly transactions: number }>;
}

/** As many clients as the pool has sessions, so that each of these is used. */
function startApplication(url: string): Application {
  const errors: string[] = [];
  let transactions = 0;
  let isOver = false;
  const clients = Array.from({ length: POOL_SIZE }, async (_, index) => {
    const client = new pg.Client({ connectionString: url });
    client.on("error", (error) => errors.push(error.message));
    await client.connect();
    while (!isOver) {
      try {
        await client.query("begin");
        await client.query("select count(*) from m_account");
        await client.query(
          "insert into m_account (account_no, name) values ($1, 'of the application')",
          [`app-${index}-${transactions}`],
        );
        await client.query("rollback");
        transactions += 1;
      } catch (error) {
        errors.push(error instanceof Error ? error.message : String(error));
        await client.query("rollback").catch(() => {});
      }
    }
    await client.end();
  });
  const application: Application = {
    async stop() {
      // Fifty more transactions after our command, which would meet anything that it left behind.
      const enough = transactions + errors.length + 50;
      await eventually(() => expect(isOver || transactions + errors.length > enough).toBe(true));
      isOver = true;
      await Promise.all(clients);
      return { errors, transactions };
    },
  };
  applications.push(application);
  return application;
}

/** Nothing of ours is left on any session of the pool: no setting, no LISTEN, no lock. */
async function expectUntouched(database: TestDatabase, url: string): Promise<void> {
  const clients = Array.from({ length: POOL_SIZE }, () => new pg.Client({ connectionString: url }));
  const settings = [
    "application_name",
    "search_path",
    "statement_timeout",
    "lock_timeout",
    "idle_in_transaction_session_timeout",
    "row_security",
    "synchronous_commit",
    "default_transaction_isolation",
  ];
  const sessions: unknown[] = [];
  for (const client of clients) {
    await client.connect();
    // A transaction each, all of them open at once: each has a session of its own.
    await client.query("begin");
    const { rows } = await client.query(
      `select pg_backend_pid() as pid, ${settings.map((name) => `current_setting('${name}') as ${name}`).join(", ")},
       (select count(*)::int from pg_listening_channels()) as listens`,
    );
    sessions.push(...rows);
  }
  for (const client of clients) await client.end();

  const expected = {
    application_name: "",
    search_path: '"$user", public',
    statement_timeout: "0",
    lock_timeout: "0",
    idle_in_transaction_session_timeout: "0",
    row_security: "on",
    synchronous_commit: "on",
    default_transaction_isolation: "read committed",
    listens: 0,
  };
  expect(sessions).toEqual(clients.map(() => expect.objectContaining(expected)));
  expect(
    await database.query(
      "select from pg_locks where locktype = 'advisory' and database = (select oid from pg_database where datname = current_database())",
    ),
  ).toEqual([]);
}
