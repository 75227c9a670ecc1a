/**
 * F40: two versions share a database for as long as a rolling upgrade takes, started in any order.
 *
 * The newer version is a copy of this one with one more migration. It only adds, which is all that a migration may do while the version
 * before runs beside it.
 */
import { cp, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { latestMigration } from "../../src/db/schema-version.ts";
import { type Sandbox, startSandbox } from "../../src/local/sandbox.ts";
import { version as thisVersion } from "../../src/version.ts";
import { insertAccount, insertAccounts } from "../support/accounts.ts";
import { audit } from "../support/audit.ts";
import { eventually } from "../support/eventually.ts";
import { recordFault } from "../support/evidence.ts";
import { createDatabase, type TestDatabase, withClient } from "../support/postgres.ts";
import { type RunningProcess, startProcess } from "../support/process.ts";
import { apiEnvironment } from "../support/product.ts";
import { untilAtRest } from "../support/queue-state.ts";
import { FLAWLESS, type Verdict } from "../support/verdict.ts";

const checkout = fileURLToPath(new URL("../..", import.meta.url));
const NEWER_VERSION = "99.0.0";
const NEWER_SCHEMA = latestMigration() + 1;
/** New columns on every table that both versions write, and a new table. */
const NEWER_MIGRATION = `
alter table account_sync.change add column origin text;
alter table account_sync.account add column note text not null default '';
alter table account_sync.attempt add column took_ms bigint;
create table account_sync.invention (invention_id integer primary key);
`;

let newerCheckout: string;
let database: TestDatabase;
let sandbox: Sandbox;
const running: RunningProcess[] = [];

beforeAll(async () => {
  newerCheckout = await mkdtemp(join(tmpdir(), "account-sync-newer-"));
  for (const folder of ["src", "sql"])
    await cp(`${checkout}${folder}`, join(newerCheckout, folder), { recursive: true });
  const manifest = JSON.parse(await readFile(`${checkout}package.json`, "utf8"));
  await writeFile(
    join(newerCheckout, "package.json"),
    JSON.stringify({ ...manifest, version: NEWER_VERSION }),
  );
  await symlink(`${checkout}node_modules`, join(newerCheckout, "node_modules"));
  await writeFile(
    join(newerCheckout, `sql/migrations/${NEWER_SCHEMA}_invent_something.sql`),
    NEWER_MIGRATION,
  );
});

afterAll(async () => {
  await rm(newerCheckout, { recursive: true, force: true });
});

afterEach(async () => {
  for (const one of running) one.signal("SIGKILL");
  await Promise.all(running.splice(0).map(({ exit }) => exit));
  await sandbox.close();
});

test("F40 an upgrade under load, replica by replica: both versions work side by side, and everything arrives once", async () => {
  await prepare();
  sandbox.setFaults({ always: { delayMs: 20 } });
  const old = [start("old"), start("old")];
  for (const replica of old) await ready(replica);
  const load = writeAllTheTime();

  // While the newer version migrates, the older ones go on.
  const newer = start("newer");
  await ready(newer);
  const mark = sandbox.counts().total;
  await eventually(() => {
    const since = sandbox.history().slice(-(sandbox.counts().total - mark) || Number.MAX_VALUE);
    const agents = new Set(since.map(({ headers }) => headers["user-agent"]));
    expect(agents).toContain(`account-sync/${thisVersion}`);
    expect(agents).toContain(`account-sync/${NEWER_VERSION}`);
  });
  for (const replica of old) {
    expect(await readiness(replica)).toBe(200);
    replica.signal("SIGTERM");
    expect((await replica.exit).code).toBe(0);
    await ready(start("newer"));
  }
  await load.end();

  const recoveryMs = await untilAtRest(database);
  const verdict = await expectFlawless();
  expect(load.failures).toEqual([]);
  expect(load.longestMs).toBeLessThan(2_000);
  recordFault("F40", verdict, { tries: 1, recoveryMs });
});

test("F40 a downgrade: the older version refuses the newer schema, in every command, with one clear error", async () => {
  await prepare();
  const newer = start("newer");
  await ready(newer);
  const id = await insertAccount(database);
  await untilAtRest(database);
  newer.signal("SIGTERM");
  await newer.exit;
  await database.query("update m_account set name = 'Changed between the versions'");

  const commands = [
    ["start"],
    ["migrate"],
    ["sync", id],
    ["preview", id],
    ["backfill"],
    ["status"],
    ["status", id],
    ["retry", "--all"],
  ];
  for (const args of commands) {
    const command = start("old", args);
    const { code } = await command.exit;

    expect({ args, code }).toEqual({ args, code: 1 });
    const said = [...command.stdout, ...command.stderr].filter((line) =>
      line.includes(`version ${NEWER_SCHEMA}`),
    );
    expect(said, [...command.stdout, ...command.stderr].join("\n")).toHaveLength(1);
    expect(said[0]).toContain(`up to ${NEWER_SCHEMA - 1}`);
  }
  expect(sandbox.counts().byOperation.update).toBe(0);

  // What was changed meanwhile waits for the version that can read it.
  await ready(start("newer"));
  const recoveryMs = await untilAtRest(database);
  const verdict = await expectFlawless();
  recordFault("F40", verdict, { tries: commands.length, recoveryMs });
});

test("F40 two versions that start at the same moment on an empty database: the schema is the newer one, and everything arrives", async () => {
  const TRIES = 4;
  const verdicts: Verdict[] = [];
  let longestMs = 0;
  for (let round = 0; round < TRIES; round += 1) {
    await prepare();
    // Either may come first.
    const [first, second] =
      round % 2 === 0 ? (["old", "newer"] as const) : (["newer", "old"] as const);
    const processes = { [first]: start(first), [second]: start(second) };
    const { old, newer } = processes as Record<"old" | "newer", RunningProcess>;

    await ready(newer);
    const outcome = await Promise.race([
      old.waitForLine(/"msg":"started"/).then(
        () => "works beside it",
        () => "ended",
      ),
      old.exit.then(({ code }) => `left with ${code}`),
    ]);
    // The older one came first, or it said why it may not start.
    if (outcome !== "works beside it")
      expect([...old.stdout, ...old.stderr].join("\n")).toContain(`version ${NEWER_SCHEMA}`);
    await insertAccounts(database, 20);
    longestMs = Math.max(longestMs, await untilAtRest(database));

    const [schema] = await database.query("select max(id) as version from account_sync.migrations");
    expect(schema).toEqual({ version: NEWER_SCHEMA });
    verdicts.push(await expectFlawless());
    for (const one of running) one.signal("SIGKILL");
    await Promise.all(running.splice(0).map(({ exit }) => exit));
    await sandbox.close();
  }
  recordFault("F40", verdicts, { tries: TRIES, recoveryMs: longestMs });
});

test("F40 an upgrade that has to wait for a long transaction does not make the application wait behind it", async () => {
  await prepare();
  const old = start("old");
  await ready(old);

  await withClient(database.url, async (application) => {
    // It holds the change table, which the newer migration alters.
    await application.query("begin");
    await application.query("insert into m_account (account_no, name) values ('A-long', 'Long')");
    const newer = start("newer");
    await newer.waitForLine(/Waiting for process \d+/);
    let longestMs = 0;
    for (let n = 0; n < 40; n += 1) {
      const beganAt = performance.now();
      await insertAccount(database, { accountNo: `A-${n}` });
      longestMs = Math.max(longestMs, performance.now() - beganAt);
    }
    await application.query("commit");

    // One try of the upgrade, a fifth of a second, and a busy machine.
    expect(longestMs).toBeLessThan(1_500);
    await ready(newer);
  });

  const recoveryMs = await untilAtRest(database);
  const verdict = await expectFlawless();
  recordFault("F40", verdict, { tries: 1, recoveryMs });
});

test("F40 uninstall beside a running daemon: it says so, does not bring it back, and goes on after the next migrate", async () => {
  await prepare();
  const daemon = start("old");
  await ready(daemon);
  await insertAccount(database);
  await untilAtRest(database);

  const uninstall = start("old", ["uninstall", "--yes"]);
  expect((await uninstall.exit).code).toBe(0);
  await eventually(async () => {
    const response = await fetch(`${await urlOf(daemon)}/readyz`);
    expect(response.status).toBe(503);
    expect(await response.text()).toContain("schema account_sync is gone");
  });
  // The application's statements work without the schema.
  await insertAccount(database, { accountNo: "A-2" });
  const [schema] = await database.query("select to_regnamespace('account_sync') as found");
  expect(schema).toEqual({ found: null });

  const migrate = start("old", ["migrate"]);
  expect((await migrate.exit).code).toBe(0);
  const migratedAt = performance.now();
  await eventually(async () => expect(await readiness(daemon)).toBe(200));
  await insertAccount(database, { accountNo: "A-3" });
  await database.query("select account_sync.request_all()");
  await eventually(() => expect(sandbox.customers()).toHaveLength(3), { timeoutMs: 30_000 });
  await untilAtRest(database);
  const recoveryMs = performance.now() - migratedAt;
  const verdict = await expectFlawless();
  daemon.signal("SIGTERM");
  expect((await daemon.exit).code).toBe(0);
  recordFault("F40", verdict, { tries: 1, recoveryMs });
});

async function prepare(): Promise<void> {
  database = await createDatabase();
  sandbox = await startSandbox();
}

function start(which: "old" | "newer", args: readonly string[] = ["start"]): RunningProcess {
  const started = startProcess({
    args,
    ...(which === "newer" ? { script: join(newerCheckout, "src/main.ts") } : {}),
    env: {
      ...apiEnvironment(sandbox),
      DATABASE_URL: database.url,
      CUSTOMER_API_UNKNOWN_OUTCOME: "resend",
      SYNC_QUIET_PERIOD_MS: "50",
      SYNC_MAX_WAIT_MS: "500",
      SYNC_BACKOFF_MIN_MS: "50",
      SYNC_BACKOFF_MAX_MS: "500",
      SYNC_SWEEP_INTERVAL_MS: "500",
      HTTP_PORT: "0",
      LOG_FORMAT: "json",
    },
  });
  running.push(started);
  return started;
}

async function urlOf(daemon: RunningProcess): Promise<string> {
  return JSON.parse(await daemon.waitForLine(/"msg":"started"/, 60_000)).url;
}

async function readiness(daemon: RunningProcess): Promise<number> {
  return (await fetch(`${await urlOf(daemon)}/readyz`)).status;
}

async function ready(daemon: RunningProcess): Promise<void> {
  await eventually(async () => expect(await readiness(daemon)).toBe(200));
}

async function expectFlawless(): Promise<Verdict> {
  const verdict = await audit(database, sandbox);
  expect(verdict).toEqual(FLAWLESS);
  return verdict;
}

/** New accounts and changes of old ones, one after another, until it is told to end. */
function writeAllTheTime() {
  let isOver = false;
  const load = { failures: [] as string[], longestMs: 0, end };
  const writing = (async () => {
    for (let n = 0; !isOver; n += 1) {
      const beganAt = performance.now();
      try {
        await insertAccount(database, { accountNo: `A-${n}` });
        await database.query("update m_account set name = $2 where account_no = $1", [
          `A-${n - 3}`,
          `Toko ${n}`,
        ]);
      } catch (error) {
        load.failures.push(String(error));
      }
      load.longestMs = Math.max(load.longestMs, performance.now() - beganAt);
      // The application's own pace: some twenty transactions a second.
      await sleep(50);
    }
  })();
  async function end(): Promise<void> {
    isOver = true;
    await writing;
  }
  return load;
}
