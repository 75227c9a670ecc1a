/** What a daemon writes down of what stops it, and what others read of it. */
import pg from "pg";
import { afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { createDatabase, type Database, type Queryable } from "../../src/db/database.ts";
import { type Obstacle, STOPPED_BY } from "../../src/obstacle.ts";
import { LOCK_CLASS } from "../../src/queue/liveness.ts";
import { ObstacleNotice } from "../../src/queue/obstacle-notice.ts";
import { readSending } from "../../src/queue/sending.ts";
import { createEngine, type Engine, LEASE_MS } from "../support/engine.ts";
import { eventually } from "../support/eventually.ts";

const REPLICA = 7;
const API = "https://api.example";
const REFUSED: Obstacle = {
  by: "unauthorized",
  reason: "create answered 401",
  sinceMs: performance.now(),
  untilMs: performance.now() + 60_000,
};

let engine: Engine;
let db: Database;
const open: (() => Promise<void>)[] = [];

beforeAll(async () => {
  engine = await createEngine();
});

beforeEach(async () => {
  await engine.query("delete from account_sync.replica");
  await engine.query("delete from account_sync.api_hold");
  db = createDatabase({
    url: engine.database.url,
    applicationName: "obstacle notice test",
    max: 2,
    synchronousCommit: "on",
    settingsPerTransaction: false,
    onError: () => {},
  });
});

afterEach(async () => {
  for (const close of open.splice(0).reverse()) await close();
  await db.close();
});

/** A daemon that lives as long as the test: its lock, and its row. */
async function live(replicaId = REPLICA): Promise<void> {
  const client = new pg.Client({ connectionString: engine.database.url });
  await client.connect();
  open.push(() => client.end());
  await client.query("select pg_advisory_lock($1, $2)", [LOCK_CLASS, replicaId]);
  await db.run("announce_replica", [replicaId, LEASE_MS]);
  await engine.query("update account_sync.replica set renewed_at = now() - interval '1 hour'");
}

function notice(
  findObstacle: () => Obstacle | null,
  on: Queryable = db,
  how: { readonly writeAgainAfterMs?: number } = {},
) {
  const troubles: unknown[] = [];
  const noticing = new ObstacleNotice({
    db: on,
    replicaId: REPLICA,
    leaseMs: LEASE_MS,
    findObstacle,
    onTrouble: (error) => troubles.push(error),
    lookEveryMs: 100,
    ...how,
  });
  noticing.start();
  open.push(() => noticing.close());
  return { noticing, troubles };
}

test("what stops a daemon is read by others, and is gone when it is over", async () => {
  await live();
  let obstacle: Obstacle | null = REFUSED;
  notice(() => obstacle);

  const stopped = await eventually(async () => {
    const sending = await readSending(db, API);
    expect(sending.obstacle).toMatchObject({ by: "unauthorized", reason: REFUSED.reason });
    return sending;
  });
  obstacle = null;
  await eventually(async () =>
    expect(await readSending(db, API)).toMatchObject({ daemons: 1, obstacle: null }),
  );

  const { since, until } = stopped.obstacle ?? {};
  expect(Date.parse(until ?? "") - Date.parse(since ?? "")).toBeGreaterThan(55_000);
  expect(stopped).toMatchObject({ daemons: 1, daemonsStopped: 1 });
});

test("what has not changed is not written again", async () => {
  await live();
  const written: (readonly unknown[])[] = [];
  const counting = {
    ...db,
    run: async (name: string, values: readonly unknown[] = []) => {
      written.push(values);
      return await db.run(name, values);
    },
  } as Queryable;
  const sinceMs = performance.now();
  let by: Obstacle["by"] = "circuit_open";
  let looks = 0;
  notice(() => {
    looks += 1;
    return { by, reason: "503", sinceMs, untilMs: sinceMs + 60_000 };
  }, counting);

  await eventually(() => expect(looks).toBeGreaterThan(3));
  const before = written.length;
  by = "unauthorized";
  await eventually(() => expect(written.length).toBe(2));

  expect(before).toBe(1);
});

test("what could not be written is written as soon as that works", async () => {
  await live();
  let isAway = true;
  const away = {
    ...db,
    run: async (name: string, values: readonly unknown[] = []) => {
      if (isAway) throw new Error("away");
      return await db.run(name, values);
    },
  } as Queryable;
  const { troubles } = notice(() => REFUSED, away);

  await eventually(() => expect(troubles.length).toBeGreaterThan(0));
  isAway = false;

  await eventually(async () =>
    expect((await readSending(db, API)).obstacle).toMatchObject({ by: "unauthorized" }),
  );
});

test("a daemon lives by its lock or a recent renewal, and one that is gone says nothing", async () => {
  const insert = (id: number, renewedSecondsAgo: number) =>
    engine.query(
      `insert into account_sync.replica (replica_id, lease_ms, renewed_at, stopped_by, stopped_since, stop_reason)
       values ($1, $2, now() - $3 * interval '1 s', 'circuit_open', now(), 'down')`,
      [id, LEASE_MS, renewedSecondsAgo],
    );
  await insert(1, 60);
  const gone = await readSending(db, API);
  await insert(2, 1);
  const renews = await readSending(db, API);
  await live(3);
  const three = await readSending(db, API);
  // It went with the schema, say: the daemon lives all the same.
  await engine.query("delete from account_sync.replica");
  const withoutRow = await readSending(db, API);

  expect(gone).toMatchObject({ daemons: 0, obstacle: { by: "no_daemon" } });
  expect(renews).toMatchObject({ daemons: 1, obstacle: { by: "circuit_open" } });
  expect(three).toMatchObject({ daemons: 1, daemonsStopped: 0, obstacle: null });
  expect(withoutRow).toMatchObject({ daemons: 1, obstacle: null });
});

test("a daemon that works writes again, and one that has not for long does not answer", async () => {
  await live();
  await engine.query("update account_sync.replica set seen_at = now() - interval '31 s'");
  const silent = await readSending(db, API);
  notice(() => null, db, { writeAgainAfterMs: 100 });
  await eventually(async () => expect((await readSending(db, API)).obstacle).toBeNull());

  expect(silent).toMatchObject({
    daemons: 1,
    daemonsStopped: 1,
    obstacle: { by: "no_answer", since: expect.stringMatching(/T/), until: null },
  });
});

test.each([
  ["written a while ago", { seen: 29, renewed: 3_600 }, null],
  ["silent but for its renewals", { seen: 60, renewed: 5 }, null],
  ["silent", { seen: 60, renewed: 60 }, "no_answer"],
  ["of a version that does not say when it was seen", { seen: null, renewed: 60 }, null],
] as const)("a daemon that holds its lock, %s", async (_name, { seen, renewed }, by) => {
  await live();
  await engine.query(
    "update account_sync.replica set seen_at = now() - $1::float8 * interval '1 s', renewed_at = now() - $2::float8 * interval '1 s'",
    [seen, renewed],
  );

  expect((await readSending(db, API)).obstacle?.by ?? null).toBe(by);
});

test("the daemon that asks knows what stops it, whatever its row says", async () => {
  await live();
  await db.run("note_obstacle", [REPLICA, LEASE_MS, "circuit_open", 0, null, "503"]);
  await engine.query("update account_sync.replica set seen_at = now() - interval '60 s'");

  const refused = await readSending(db, API, { replicaId: REPLICA, obstacle: REFUSED });
  const free = await readSending(db, API, { replicaId: REPLICA, obstacle: null });
  const another = await readSending(db, API, { replicaId: REPLICA + 1, obstacle: null });

  expect(refused).toMatchObject({ daemons: 1, obstacle: { by: "unauthorized" } });
  expect(refused.obstacle?.until).toMatch(/T/);
  expect(free).toMatchObject({ daemons: 1, obstacle: null });
  expect(another).toMatchObject({ daemons: 2, daemonsStopped: 1, obstacle: { by: "no_answer" } });
});

test("a wait that the API asked for stops all, but not one of another API or of the past", async () => {
  await live();
  await db.run("share_wait", ["https://other.example", 60_000]);
  const ofAnother = await readSending(db, API);
  await db.run("share_wait", [API, 60_000]);
  const held = await readSending(db, API);
  const unknownApi = await readSending(db, null);
  await engine.query("update account_sync.api_hold set held_until = now() - interval '1 s'");
  const past = await readSending(db, API);

  expect([ofAnother.obstacle, unknownApi.obstacle, past.obstacle]).toEqual([null, null, null]);
  expect(held.obstacle).toMatchObject({ by: "retry_after", until: expect.stringMatching(/T/) });
});

test.each(STOPPED_BY)("the table knows %s", async (by) => {
  await db.run("note_obstacle", [REPLICA, LEASE_MS, by, 0, null, "why"]);

  expect(await engine.query("select stopped_by from account_sync.replica")).toEqual([
    { stopped_by: by },
  ]);
});

test.each([
  ["an unknown reason", ["bored", 0, null, "why"], "stopped_by_what_is_known"],
  ["no beginning", ["unauthorized", null, null, "why"], "stop_has_a_beginning_and_a_reason"],
  ["no reason", ["unauthorized", 0, null, null], "stop_has_a_beginning_and_a_reason"],
  ["an end of nothing", [null, null, 5, null], "only_a_stop_has_an_end"],
])("the table refuses a stop with %s", async (_name, values, constraint) => {
  await expect(db.run("note_obstacle", [REPLICA, LEASE_MS, ...values])).rejects.toMatchObject({
    constraint,
  });
});
