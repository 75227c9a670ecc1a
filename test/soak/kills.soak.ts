/**
 * Processes are killed at random for as long as asked, while an application writes: during migrations, during their start, and at work.
 * There are two APIs that give out the same ids, and writers that put null or old ids over those that were given out. In the end
 * everything has arrived, every account once, with its own ids, and no customer was overwritten.
 *
 *     npm run test:soak -- --minutes 30
 */
import { readFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { type Sandbox, startSandbox } from "../../src/local/sandbox.ts";
import { insertAccount } from "../support/accounts.ts";
import { type ApiPair, configureOther, OTHER_CONFIG, startApiPair } from "../support/api-pair.ts";
import { audit } from "../support/audit.ts";
import { eventually } from "../support/eventually.ts";
import { createDatabase, type TestDatabase } from "../support/postgres.ts";
import { type RunningProcess, startProcess } from "../support/process.ts";
import { apiEnvironment } from "../support/product.ts";
import { untilAtRest } from "../support/queue-state.ts";
import { soakDeadline } from "../support/soak.ts";
import { leftByClearing, leftByRefusals } from "../support/storm-explanations.ts";
import { FLAWLESS } from "../support/verdict.ts";

const DAEMONS = 3;
/** Enough to keep all of them busy, few enough to be edited while they are in flight. */
const ACCOUNTS = 120;
/** The part of the time that goes to databases that are not migrated yet. */
const SHARE_OF_MIGRATIONS = 0.1;
/** What is left after the last kill: leases of the dead, and a backlog. */
const REST_WITHIN_MS = 90_000;

test("killed at random for a long time while an application writes: nothing is lost, nothing is there twice", async () => {
  const startedAt = performance.now();
  const deadline = soakDeadline();
  const tally: Tally = {
    kills: 0,
    killsBeforeReady: 0,
    killsWhileMigrating: 0,
    writes: 0,
    carelessWrites: 0,
  };

  const migratingUntil = startedAt + (deadline - startedAt) * SHARE_OF_MIGRATIONS;
  while (performance.now() < migratingUntil) await killWhileMigrating(tally);

  const database = await createDatabase();
  const apis = await startApiPair({});
  await configureOther(database, apis);
  await database.query(
    await readFile(new URL("../support/careless-writers.sql", import.meta.url), "utf8"),
  );
  const isOver = () => performance.now() >= deadline;
  await Promise.all([
    write(database, tally, isOver),
    changeLatency(apis, isOver),
    ...Array.from({ length: DAEMONS }, () =>
      killAgainAndAgain(database, apis.default, tally, isOver),
    ),
  ]);
  apis.clearFaults();
  const last = [spawn(database, apis.default), spawn(database, apis.default)];
  const healedAt = performance.now();
  await untilAtRest(database, REST_WITHIN_MS);
  const recoveryMs = performance.now() - healedAt;

  // A tier that is switched off and on again keeps its id, which the sandbox has dropped with the update in between.
  const found = await audit(database, apis, [
    leftByRefusals(apis.history()),
    leftByClearing(apis.customers()),
  ]);
  const { byOperation, byStatus } = apis.counts();
  process.stdout.write(
    `${JSON.stringify({
      ...tally,
      accounts: apis.customers().length,
      ofOtherApi: apis.other.customers().length,
      creates: byOperation.create,
      updates: byOperation.update,
      unanswered: byStatus["none"] ?? 0,
      lost: found.lost.length,
      lostIds: found.lostIds.length,
      twins: found.twins.length,
      overwritten: found.overwritten.length,
      explained: found.explained,
      recoveryMs: Math.round(recoveryMs),
      seconds: Math.round((performance.now() - startedAt) / 1_000),
    })}\n`,
  );
  expect(found).toEqual({ ...FLAWLESS, explained: found.explained });
  expect(tally.kills).toBeGreaterThan(0);
  await killAll(last);
  await apis.close();
});

interface Tally {
  kills: number;
  killsBeforeReady: number;
  killsWhileMigrating: number;
  writes: number;
  carelessWrites: number;
}

/** A database of its own, two processes that migrate it at the same time, and in the end a sync that works. */
async function killWhileMigrating(tally: Tally): Promise<void> {
  const database = await createDatabase();
  const sandbox = await startSandbox();
  await Promise.all(
    [1, 2].map(async () => {
      for (let kill = 0; kill < 4; kill += 1) {
        const doomed = spawn(database, sandbox);
        await killWithin(doomed, Math.random() * 1_200, tally);
        tally.killsWhileMigrating += 1;
      }
    }),
  );
  const survivor = spawn(database, sandbox);
  await survivor.waitForLine(/"msg":"started"/, 60_000);
  await insertAccount(database);
  await untilAtRest(database, REST_WITHIN_MS);

  expect(await audit(database, sandbox)).toEqual(FLAWLESS);
  await killAll([survivor]);
  await sandbox.close();
  await database.close();
}

/** One place in the fleet: as soon as a process is dead, the next one starts. */
async function killAgainAndAgain(
  database: TestDatabase,
  sandbox: Sandbox,
  tally: Tally,
  isOver: () => boolean,
): Promise<void> {
  while (!isOver()) {
    const doomed = spawn(database, sandbox);
    // One of four is killed before its start is complete.
    const isShort = Math.random() < 0.25;
    if (!isShort) await doomed.waitForLine(/"msg":"started"/, 60_000);
    await killWithin(doomed, Math.random() * (isShort ? 800 : 2_000), tally);
  }
}

/** The process must not end in any other way. */
async function killWithin(doomed: RunningProcess, ms: number, tally: Tally): Promise<void> {
  // The kill is meant to come at any moment, so there is no fact to wait for.
  const early = await Promise.race([doomed.exit, sleep(ms, null)]);
  if (early !== null)
    throw new Error(
      `a daemon left by itself (${JSON.stringify(early)}):\n${[...doomed.stdout, ...doomed.stderr].join("\n")}`,
    );
  tally.kills += 1;
  if (!doomed.stdout.some((line) => line.includes('"msg":"started"'))) tally.killsBeforeReady += 1;
  await killAll([doomed]);
}

async function changeLatency(apis: ApiPair, isOver: () => boolean): Promise<void> {
  while (!isOver()) {
    apis.setFaults({ always: { delayMs: Math.random() ** 3 * 400 } });
    await sleep(20);
  }
}

/** As an application does it: one small commit after the other, most of them to accounts that are being synced. */
async function write(database: TestDatabase, tally: Tally, isOver: () => boolean): Promise<void> {
  // Nothing is captured before the first migration.
  await eventually(
    async () => expect(await database.query("select from account_sync.status")).toEqual([]),
    { timeoutMs: 60_000 },
  );
  const ids: string[] = [];
  while (!isOver()) {
    tally.writes += 1;
    if (ids.length < ACCOUNTS && Math.random() < 0.2) {
      const accountNo = `A-${ids.length}`;
      const id = await insertAccount(database, { accountNo, tiers: chance(4), pics: chance(3) });
      ids.push(id);
      // One that has its id by now belongs where it is, and this is refused.
      if (chance(2) === 0)
        await database.query("select account_sync.request($1, config_id => $2)", [
          id,
          OTHER_CONFIG,
        ]);
    } else if (chance(5) === 0) {
      const statement = CARELESS_EDITS[chance(CARELESS_EDITS.length)];
      const id = ids[chance(ids.length)];
      tally.carelessWrites += 1;
      if (statement !== undefined && id !== undefined)
        await database.query(statement, [id, tally.writes]);
    } else {
      const statement = EDITS[chance(EDITS.length)];
      const id = ids[chance(ids.length)];
      if (statement !== undefined && id !== undefined)
        await database.query(statement, [id, tally.writes]);
    }
    await sleep(chance(30));
  }
}

/** $1 an account   $2 a number that was not there before; tiers are told apart by min_value, PICs by name. */
const EDITS = [
  "update m_account set name = 'Toko ' || $2::bigint where id = $1",
  "update m_account set email = 'toko' || $2::bigint || '@example.com' where id = $1",
  `insert into m_account_package_tier (account_id, min_value, max_value, amount, start_date, end_date)
   values ($1, 100000 + $2::bigint * 10, 100009 + $2::bigint * 10, 1, '2026-01-01', '2026-12-31')`,
  `insert into m_account_pic (account_id, name, phone_no, email) values ($1, 'Budi ' || $2::bigint, '081234567890', '')`,
  "update m_account_package_tier set amount = mod($2::bigint, 90) where account_id = $1",
  `delete from m_account_package_tier where id = (select id from m_account_package_tier where account_id = $1 and $2::bigint > 0 order by random() limit 1)`,
  `update m_account_package_tier set is_active = not is_active where id = (select id from m_account_package_tier where account_id = $1 and $2::bigint > 0 order by random() limit 1)`,
  `delete from m_account_pic where id = (select id from m_account_pic where account_id = $1 and $2::bigint > 0 order by random() limit 1)`,
];

/** By applications that know nothing of external ids. */
const CARELESS_EDITS = [
  "update m_account set uuid_be = null, branch_uuid_be = null, name = 'Toko ' || $2::bigint where id = $1",
  "update m_account set uuid_be = null where id = $1 and $2::bigint > 0",
  "update m_account_package_tier set uuid_be = null, amount = mod($2::bigint, 90) where account_id = $1",
  "update m_account_pic set uuid_be = null where account_id = $1 and $2::bigint > 0",
  "select careless.import_again($1) where $2::bigint > 0",
  "select careless.keep('backup', array[$1::uuid]) where $2::bigint > 0",
  "select careless.restore_table('m_account', array[$1::uuid]) where $2::bigint > 0",
];

/** 0 to limit - 1. */
function chance(limit: number): number {
  return Math.floor(Math.random() * limit);
}

function spawn(database: TestDatabase, sandbox: Sandbox): RunningProcess {
  return startProcess({
    args: ["start"],
    env: {
      ...apiEnvironment(sandbox),
      DATABASE_URL: database.url,
      CUSTOMER_API_UNKNOWN_OUTCOME: "resend",
      SYNC_QUIET_PERIOD_MS: "20",
      SYNC_MAX_WAIT_MS: "200",
      SYNC_BACKOFF_MIN_MS: "50",
      SYNC_BACKOFF_MAX_MS: "1000",
      HTTP_PORT: "0",
    },
  });
}

async function killAll(daemons: readonly RunningProcess[]): Promise<void> {
  for (const daemon of daemons) {
    daemon.signal("SIGKILL");
    await daemon.exit;
  }
}
