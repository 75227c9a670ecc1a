/** The doorbell: when the triggers NOTIFY, and a daemon's getting up and lying down, with a clock of the test's own over a real database. */
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { Doorbell, type DoorbellOptions } from "../../src/capture/doorbell.ts";
import {
  type Database,
  createDatabase as openDatabase,
  type Queryable,
} from "../../src/db/database.ts";
import { migrate } from "../../src/db/migrate.ts";
import { eventually } from "../support/eventually.ts";
import { createDatabase, type TestDatabase, withClient } from "../support/postgres.ts";

const SWEEP_MS = 5_000;

let database: TestDatabase;
let db: Database;
let now = 0;

beforeAll(async () => {
  database = await createDatabase();
  await migrate({ url: database.url, info: () => {} });
  db = openDatabase({
    url: database.url,
    applicationName: "doorbell test",
    max: 4,
    synchronousCommit: "on",
    settingsPerTransaction: false,
    onError: () => {},
  });
});

afterAll(async () => {
  await db.close();
});

beforeEach(async () => {
  now = 1_000_000;
  await wantUntil("-infinity");
  await database.query("delete from account_sync.change");
});

describe("the triggers", () => {
  test("ring once for a transaction, however much it changes", async () => {
    await wantUntil("infinity");

    const rings = await ringsDuring(async () => {
      await withClient(database.url, async (client) => {
        await client.query("begin");
        await client.query("insert into m_account (name) values ('a'), ('b')");
        await client.query("update m_account set name = name || '!'");
        await client.query("insert into m_bank (name, uuid_be) values ('Bank Uji', 'ext')");
        await client.query("commit");
      });
    });

    expect(rings).toBe(1);
  });

  test("do not ring when nobody asked for it", async () => {
    expect(await ringsDuring(() => insertAccount())).toBe(0);
  });

  test("do not ring for what is no change, or was rolled back", async () => {
    await insertAccount();
    await wantUntil("infinity");

    const rings = await ringsDuring(async () => {
      await database.query("update m_account set updated_at = now(), uuid_be = 'ext'");
      await withClient(database.url, async (client) => {
        await client.query("begin; insert into m_account (name) values ('a'); rollback");
      });
    });

    expect(rings).toBe(0);
  });

  test("stop by themselves when nobody asks again", async () => {
    await db.run("want_doorbell", [300]);
    expect(await ringsDuring(() => insertAccount())).toBe(1);

    await eventually(async () => expect(await isWanted()).toBe(false));

    expect(await ringsDuring(() => insertAccount())).toBe(0);
  });

  test("ring also when a transaction's snapshot is older than the wish", async () => {
    const rings = await ringsDuring(async () => {
      await withClient(database.url, async (client) => {
        await client.query("begin isolation level repeatable read; select 1");
        await wantUntil("infinity");
        await client.query("insert into m_account (name) values ('a'); commit");
      });
    });

    expect(rings).toBe(1);
  });

  test("read one page, however often the wish was renewed while an old snapshot was held", async () => {
    await withClient(database.url, async (dump) => {
      await dump.query("begin isolation level repeatable read; select from m_account");
      await database.query(
        `do $$ begin
           for renewal in 1..2000 loop
             update account_sync.doorbell set wanted_until = clock_timestamp();
             commit;
           end loop;
         end $$`,
      );
    });

    const [size] = await database.query(
      "select pg_relation_size('account_sync.doorbell') > 8192 as left_behind, pg_relation_size('account_sync.doorbell_until') as bytes",
    );
    expect(size).toEqual({ left_behind: true, bytes: "8192" });
  });

  test("a request rings also for nobody, since a daemon that is up is never late for it", async () => {
    expect(await ringsDuring(() => database.query("select account_sync.request('x')"))).toBe(1);
    expect(await ringsDuring(() => database.query("select account_sync.request_all()"))).toBe(1);
  });

  test("a transaction that was rung cannot be prepared; with the bell off it can", async () => {
    const prepare = () =>
      withClient(database.url, (client) =>
        client.query("begin; insert into m_account (name) values ('a'); prepare transaction 'p'"),
      );
    await wantUntil("infinity");
    await expect(prepare()).rejects.toThrow(/NOTIFY/);

    await createDoorbell({ notify: "off" }).afterLook(false);
    await prepare();

    await database.query("rollback prepared 'p'");
  });
});

describe("SYNC_NOTIFY", () => {
  test("always: wanted for ever, and busy or not it stays so", async () => {
    const doorbell = createDoorbell({ notify: "always" });

    expect(await doorbell.afterLook(false)).toBe(SWEEP_MS);
    hear(doorbell, 1_000);
    expect(await doorbell.afterLook(true)).toBe(SWEEP_MS);

    expect(await wantedUntil()).toBe("infinity");
  });

  test("off: never wanted, not even when another start had asked for ever", async () => {
    await wantUntil("infinity");
    const doorbell = createDoorbell({ notify: "off" });

    expect(await doorbell.afterLook(false)).toBe(SWEEP_MS);

    expect(await wantedUntil()).toBe("-infinity");
  });
});

describe("getting up and lying down", () => {
  test("a start asks to be rung and rests when nothing old is left", async () => {
    const doorbell = createDoorbell();

    expect(await doorbell.afterLook(false)).toBe(20);
    expect(await isWanted()).toBe(true);

    await lookUntilResting(doorbell);
    expect(await doorbell.afterLook(false)).toBe(SWEEP_MS);
  });

  test("a long sweep interval does not let the wish run out", async () => {
    const doorbell = createDoorbell({ sweepIntervalMs: 3_600_000 });
    await lookUntilResting(doorbell);

    expect(await doorbell.afterLook(false)).toBe(10_000);
  });

  test.each([
    { quietPeriodMs: 0, wakes: 50 },
    { quietPeriodMs: 1_000, wakes: 20 },
    { quietPeriodMs: 60_000, wakes: 10 },
  ])(
    "with a quiet period of $quietPeriodMs ms more than $wakes wakes in a second get it up, and the bell is off",
    async ({ quietPeriodMs, wakes }) => {
      const doorbell = await createResting({ quietPeriodMs });

      hear(doorbell, wakes);
      await doorbell.afterLook(true);
      expect(await isWanted()).toBe(true);

      hear(doorbell, 1);
      await doorbell.afterLook(true);
      expect(await isWanted()).toBe(false);
    },
  );

  test("as many wakes in two seconds do not", async () => {
    const doorbell = await createResting();

    hear(doorbell, 30);
    now += 1_001;
    hear(doorbell, 30);
    await doorbell.afterLook(true);

    expect(await isWanted()).toBe(true);
  });

  test.each([
    { quietPeriodMs: 0, busyMs: 5, quietMs: 20 },
    { quietPeriodMs: 200, busyMs: 10, quietMs: 20 },
    { quietPeriodMs: 1_000, busyMs: 50, quietMs: 50 },
    { quietPeriodMs: 60_000, busyMs: 100, quietMs: 100 },
  ])(
    "awake, with a quiet period of $quietPeriodMs ms it looks every $busyMs ms while there are changes, and every $quietMs when not",
    async ({ quietPeriodMs, busyMs, quietMs }) => {
      const doorbell = await createAwake({ quietPeriodMs });

      expect(await doorbell.afterLook(true)).toBe(busyMs);
      expect(await doorbell.afterLook(false)).toBe(quietMs);
    },
  );

  test("it lies down after a second without a change, and no sooner", async () => {
    const doorbell = await createAwake();

    now += 900;
    await doorbell.afterLook(true);
    now += 999;
    await doorbell.afterLook(false);
    expect(await isWanted()).toBe(false);

    now += 1;
    await doorbell.afterLook(false);
    expect(await isWanted()).toBe(true);
  });

  test("lying down it gets up again when it is rung too often", async () => {
    const doorbell = await createAwake();
    now += 1_001;
    await doorbell.afterLook(false);

    hear(doorbell, 101);
    await doorbell.afterLook(true);

    expect(await isWanted()).toBe(false);
  });

  test("what the database refused is done at the next look", async () => {
    let isDown = true;
    const doorbell = createDoorbell({
      db: {
        run: (name, params) =>
          isDown ? Promise.reject(new Error("the database is away")) : db.run(name, params),
      },
    });

    await expect(doorbell.afterLook(false)).rejects.toThrow();
    isDown = false;
    await doorbell.afterLook(false);

    expect(await isWanted()).toBe(true);
  });
});

describe("while it rests", () => {
  test("the wish is renewed every 10 seconds", async () => {
    const doorbell = await createResting();
    await wantUntil("-infinity");

    now += 9_000;
    await doorbell.afterLook(false);
    expect(await isWanted()).toBe(false);

    now += 1_000;
    await doorbell.afterLook(false);
    expect(await isWanted()).toBe(true);
  });

  test("a change whose writer found the wish run out is found soon after the renewal", async () => {
    const doorbell = await createResting();
    // Frozen, or cut off from the database, for longer than the wish lasts; or a replica that got up and died has cleared it.
    await wantUntil("-infinity");
    now += 60_000;

    await withClient(database.url, async (writer) => {
      await writer.query("begin");
      await writer.query("insert into m_account (name) values ('unheard')");
      await doorbell.afterLook(false);
      await writer.query("commit");
    });

    expect(await lookUntilResting(doorbell)).toMatchObject({ found: 1 });
  });
});

describe("the race: a writer that read the bell before it was on commits after that", () => {
  test("it keeps looking, ever more slowly, until the writer has ended, and finds the change", async () => {
    const doorbell = await createAwake();

    await withClient(database.url, async (writer) => {
      await writer.query("begin");
      await writer.query("insert into m_account (name) values ('unheard')");
      now += 1_001;
      await doorbell.afterLook(await look());

      const waits: number[] = [];
      for (let looks = 0; looks < 10; looks += 1)
        waits.push(await doorbell.afterLook(await look()));
      expect(waits).toEqual([40, 80, 160, 320, 640, 1280, 2560, 5000, 5000, 5000]);

      expect(await ringsDuring(() => writer.query("commit"))).toBe(0);
    });

    expect(await lookUntilResting(doorbell)).toMatchObject({ found: 1 });
  });

  test("also when the writer began while the bell was being switched on", async () => {
    await withClient(database.url, async (writer) => {
      const doorbell = createDoorbell({
        db: whileSwitchingOn(async () => {
          await writer.query("begin");
          await writer.query("insert into m_account (name) values ('unheard')");
        }),
      });
      await doorbell.afterLook(await look());

      for (let looks = 0; looks < 10; looks += 1)
        expect(await doorbell.afterLook(await look())).toBeGreaterThan(0);

      expect(await ringsDuring(() => writer.query("commit"))).toBe(0);
      expect(await lookUntilResting(doorbell)).toMatchObject({ found: 1 });
    });
  });

  test("a writer that begins after the flip rings, and is not waited for", async () => {
    const doorbell = createDoorbell();
    await doorbell.afterLook(false);

    await withClient(database.url, async (writer) => {
      await writer.query("begin");
      await writer.query("insert into m_account (name) values ('heard')");
      await lookUntilResting(doorbell);

      expect(await ringsDuring(() => writer.query("commit"))).toBe(1);
    });
  });
});

function createDoorbell(options: Partial<DoorbellOptions> = {}): Doorbell {
  return new Doorbell({
    db,
    notify: "auto",
    quietPeriodMs: 0,
    sweepIntervalMs: SWEEP_MS,
    now: () => now,
    ...options,
  });
}

async function createResting(options: Partial<DoorbellOptions> = {}): Promise<Doorbell> {
  const doorbell = createDoorbell(options);
  await lookUntilResting(doorbell);
  return doorbell;
}

async function createAwake(options: Partial<DoorbellOptions> = {}): Promise<Doorbell> {
  const doorbell = await createResting(options);
  hear(doorbell, 101);
  await doorbell.afterLook(true);
  expect(await isWanted()).toBe(false);
  return doorbell;
}

function hear(doorbell: Doorbell, times: number): void {
  for (let wakes = 0; wakes < times; wakes += 1) doorbell.heard();
}

/** A database whose doorbell takes long to be switched on: `meanwhile` runs after the write and before its commit, once. */
function whileSwitchingOn(meanwhile: () => Promise<void>): Queryable {
  let isFirst = true;
  return {
    async run<Row>(name: string, params?: readonly unknown[]): Promise<Row[]> {
      if (name !== "want_doorbell" || !isFirst) return await db.run<Row>(name, params);
      isFirst = false;
      return await db.transaction(async (tx) => {
        const rows = await tx.run<Row>(name, params);
        await meanwhile();
        return rows;
      });
    },
  };
}

/** One look at the change table, as the fold takes it. */
async function look(): Promise<boolean> {
  return (await database.query("delete from account_sync.change returning 1")).length > 0;
}

/**
 * Looks when the doorbell says so until it relies on being rung: its last look is the one it asked for at once. The server is shared,
 * and the doorbell waits for the open transactions of other test files too.
 */
async function lookUntilResting(doorbell: Doorbell): Promise<{ found: number }> {
  let found = 0;
  for (let isLast = false; ; ) {
    const hasFound = await look();
    if (hasFound) found += 1;
    const waitMs = await doorbell.afterLook(hasFound);
    if (isLast) return { found };
    isLast = waitMs === 0;
    await sleep(2); // The transactions of other test files end in real time.
  }
}

/** How many notifications come in for what `work` does. A last one of our own marks the end: they arrive in the order of commits. */
async function ringsDuring(work: () => Promise<unknown>): Promise<number> {
  return await withClient(database.url, async (client) => {
    const payloads: (string | undefined)[] = [];
    client.on("notification", ({ payload }) => payloads.push(payload));
    await client.query("listen account_sync");

    await work();

    await database.query("notify account_sync, 'end'");
    await eventually(() => expect(payloads).toContain("end"));
    return payloads.length - 1;
  });
}

async function insertAccount(): Promise<void> {
  await database.query("insert into m_account (name) values ('Toko Uji')");
}

async function wantUntil(time: string): Promise<void> {
  await database.query("update account_sync.doorbell set wanted_until = $1", [time]);
}

async function wantedUntil(): Promise<string | undefined> {
  const [row] = await database.query<{ until: string }>(
    "select wanted_until::text as until from account_sync.doorbell",
  );
  return row?.until;
}

async function isWanted(): Promise<boolean> {
  const rows = await database.query(
    "select from account_sync.doorbell where wanted_until > clock_timestamp()",
  );
  return rows.length === 1;
}
