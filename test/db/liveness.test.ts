/** Who is taken for dead, and whose accounts are taken over: never those of a daemon that still renews. */
import { afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { createDatabase, type Database } from "../../src/db/database.ts";
import { Liveness, SILENCE_MAX_MS } from "../../src/queue/liveness.ts";
import type { Queue } from "../../src/queue/queue.ts";
import { claimOne, createEngine, type Engine, LEASE_MS } from "../support/engine.ts";
import { eventually } from "../support/eventually.ts";

const DEAD = 7;
const WATCHING = 8;
const NOBODY: readonly unknown[] = [];

let engine: Engine;
let db: Database;
const open: { close(): Promise<void> }[] = [];

beforeAll(async () => {
  engine = await createEngine();
});

beforeEach(async () => {
  await engine.reset();
  await engine.query("delete from account_sync.replica");
  db = createDatabase({
    url: engine.database.url,
    applicationName: "presence test",
    max: 2,
    synchronousCommit: "on",
    settingsPerTransaction: false,
    onError: () => {},
  });
});

afterEach(async () => {
  for (const one of open.splice(0)) await one.close();
  await db.close();
});

/** A replica that lost its lock long ago, and last renewed so long ago. */
async function lost(replicaId: number, renewedSecondsAgo: number): Promise<void> {
  await engine.query(
    `insert into account_sync.replica (replica_id, lease_ms, renewed_at, lost_at)
     values ($1, $2, now() - $3 * interval '1 s', now() - interval '1 minute')`,
    [replicaId, LEASE_MS, renewedSecondsAgo],
  );
}

/** An account that the dead replica leased so long ago. */
async function leased(accountId: string, secondsAgo: number): Promise<void> {
  await engine.change(accountId);
  const queue = engine.queueWith({ quietPeriodMs: 0, maxWaitMs: 0 });
  await queue.fold();
  await claimOne(queue, accountId);
  await engine.query(
    "update account_sync.account set leased_by = $2, due_at = due_at - $3 * interval '1 s' where account_id = $1",
    [accountId, DEAD, secondsAgo],
  );
}

async function watch(replicaId = WATCHING) {
  const taken: number[] = [];
  const presence = new Liveness({
    db,
    connection: {
      connectionString: engine.database.url,
      application_name: `presence of ${replicaId}`,
    },
    replicaId,
    leaseMs: LEASE_MS,
    onTakeOver: (accounts) => taken.push(accounts),
    onTrouble: () => {},
  });
  open.push(presence);
  await presence.start();
  return taken;
}

async function replicas(): Promise<unknown[]> {
  const rows = await engine.query(
    "select replica_id from account_sync.replica order by replica_id",
  );
  return rows.map((row) => row["replica_id"]);
}

test("the accounts of a replica that has gone silent are due at once, and it is forgotten", async () => {
  await lost(DEAD, 60);
  await leased("a", 4);

  const taken = await watch();

  // A server that has just started is given five seconds first, and this file may be the first to use it.
  await eventually(() => expect(taken).toEqual([1]));
  expect(await engine.row("a")).toMatchObject({ state: "due" });
  await eventually(async () => expect(await replicas()).toEqual([WATCHING]));
});

test("a replica that lost its lock and still renews keeps its accounts", async () => {
  await lost(DEAD, 1);
  await leased("a", 4);

  const taken = await watch();

  expect(taken).toEqual(NOBODY);
  expect(await engine.row("a")).toMatchObject({ state: "running" });
});

test("an account that was claimed just before the death is taken over when its worker would have let go", async () => {
  await lost(DEAD, 60);
  await leased("a", SILENCE_MAX_MS / 1_000 - 1);

  const taken = await watch();
  const before = [...taken];
  const stillThere = await replicas();
  await eventually(() => expect(taken).toEqual([1]));

  expect(before).toEqual(NOBODY);
  expect(stillThere).toEqual([DEAD, WATCHING]);
  await eventually(async () => expect(await replicas()).toEqual([WATCHING]));
});

test("nobody takes himself for dead", async () => {
  await lost(WATCHING, 60);

  const named = await db.run("note_lost_replicas", [1_937_337_955, 1_500, 3_500, WATCHING]);
  const namedByOthers = await db.run("note_lost_replicas", [1_937_337_955, 1_500, 3_500, DEAD]);

  expect(named).toEqual(NOBODY);
  expect(namedByOthers).toEqual([{ replicaId: WATCHING, isDead: true }]);
});

test("renewing says that the replica lives, also while the account's row is locked", async () => {
  const queue: Queue = engine.queueWith({ quietPeriodMs: 0, maxWaitMs: 0 });
  await lost(DEAD, 60);
  await engine.change("a");
  await queue.fold();
  const claim = await claimOne(queue, "a");
  const tokens = [["a"], [claim?.leaseToken], LEASE_MS, DEAD];

  const silent = await db.transaction(async (tx) => {
    await tx.run("lock_leases", tokens.slice(0, 2));
    await db.run("renew_leases", tokens);
    return await db.run("note_lost_replicas", [1_937_337_955, 1_500, 3_500, WATCHING]);
  });

  expect(silent).toEqual([{ replicaId: DEAD, isDead: false }]);
});

test("a replica that was forgotten, and lives, is known again as soon as it renews", async () => {
  const queue: Queue = engine.queueWith({ replicaId: DEAD });
  await engine.change("a");
  await queue.fold();
  const claims = await queue.claim(1);

  await queue.renew(claims);

  expect(await replicas()).toEqual([DEAD]);
});

test("a session that dies while the daemon announces itself is noticed, and the lock is taken again", async () => {
  await watch();
  // Announcing waits for this row: the session dies after it took the lock, and before anybody looks after it.
  const pid = async () =>
    (
      await engine.query(
        "select a.pid from pg_stat_activity a join pg_locks l using (pid) where a.datname = current_database() and a.application_name = $1 and l.locktype = 'advisory' and l.granted",
        [`presence of ${WATCHING}`],
      )
    )[0]?.["pid"] ?? null;
  const first = await pid();

  let second: unknown = null;
  await db.transaction(async (tx) => {
    await tx.run("announce_replica", [WATCHING, LEASE_MS]);
    await engine.query("select pg_terminate_backend($1)", [first]);
    second = await eventually(async () => {
      const now = await pid();
      expect(now).not.toBeNull();
      expect(now).not.toBe(first);
      return now;
    });
    await engine.query("select pg_terminate_backend($1)", [second]);
    await eventually(async () => expect(await pid()).toBeNull());
  });

  await eventually(async () => {
    const third = await pid();
    expect(third).not.toBeNull();
    expect(third).not.toBe(second);
  });
});
