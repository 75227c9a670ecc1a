/**
 * Our statements are prepared once for each session. An application's ALTER TABLE while they are neither fails a load nor makes an account
 * look removed, and a transaction that did not begin, or whose connection broke, is not taken for one that did.
 */
import pg from "pg";
import { afterEach, describe, expect, test, vi } from "vitest";
import type { LastSource } from "../../src/account/load.ts";
import { type ConnectionPool, databaseOver } from "../../src/db/database.ts";
import { isOutage } from "../../src/db/error-code.ts";
import { connectionOptions } from "../../src/db/own-settings.ts";
import { loadForSync } from "../../src/sync/load-for-sync.ts";
import { insertAccount } from "../support/accounts.ts";
import { eventually } from "../support/eventually.ts";
import { openOwnDatabase } from "../support/own-database.ts";
import {
  createDatabase as createTestDatabase,
  serverUrl,
  type TestDatabase,
  type TestDatabaseOptions,
  withClient,
} from "../support/postgres.ts";
import { startStatementGate } from "../support/statement-gate.ts";

const SESSIONS = 4;

const pools: pg.Pool[] = [];

afterEach(async () => {
  vi.restoreAllMocks();
  for (const pool of pools.splice(0)) await pool.end();
});

async function open(options: TestDatabaseOptions = {}) {
  const database = await createTestDatabase({ migrated: true, ...options });
  const pool = ownPool(database.url);
  const last: LastSource = { source: null };
  const db = databaseOver(pool, { settingsPerTransaction: false, isOwnSession: true });
  return {
    database,
    pool,
    db,
    load: (ids: readonly string[]) => loadForSync({ ...db, close: async () => {} }, ids, last),
  };
}

/** As createDatabase makes it, and of our own, so that its sessions can be looked into. */
function ownPool(url: string): pg.Pool {
  const pool = new pg.Pool({
    ...connectionOptions({
      url,
      applicationName: "account-sync test",
      settingsPerTransaction: false,
      synchronousCommit: "on",
    }),
    pipeline: true,
    max: SESSIONS,
  });
  pool.on("error", () => {});
  pool.on("connect", (client) => client.on("error", () => {}));
  pools.push(pool);
  return pool;
}

type Opened = Awaited<ReturnType<typeof open>>;

/** On every session of the pool at once. */
async function loadEverywhere({ load, pool }: Opened, ids: readonly string[]) {
  // A load does not wait for its commit: until that is answered its session is not free, and another one would be used twice.
  await eventually(() => expect(pool.idleCount).toBe(pool.totalCount));
  return await Promise.all(Array.from({ length: SESSIONS }, () => load(ids)));
}

interface Prepared {
  readonly name: string;
  readonly runs: number;
}

/** What each session has prepared. */
async function prepared(pool: pg.Pool): Promise<Prepared[][]> {
  const clients = await Promise.all(Array.from({ length: SESSIONS }, () => pool.connect()));
  try {
    return await Promise.all(
      clients.map(
        async (client) =>
          (
            await client.query<Prepared>(
              "select name, (generic_plans + custom_plans)::integer as runs from pg_prepared_statements order by name",
            )
          ).rows,
      ),
    );
  } finally {
    for (const client of clients) client.release();
  }
}

const namesIn = (sessions: readonly (readonly Prepared[])[]) =>
  sessions.map((session) => session.map(({ name }) => name));
const runsIn = (sessions: readonly (readonly Prepared[])[]) =>
  sessions.flat().reduce((sum, { runs }) => sum + runs, 0);

test("each statement is prepared once for each session, however often it is run", async () => {
  const opened = await open();
  const id = await insertAccount(opened.database);
  await loadEverywhere(opened, [id]);
  const first = await prepared(opened.pool);
  await loadEverywhere(opened, [id]);
  const second = await prepared(opened.pool);

  for (let n = 0; n < 10; n += 1) await loadEverywhere(opened, [id]);

  const later = await prepared(opened.pool);
  expect(namesIn(later)).toEqual(namesIn(first));
  for (const names of namesIn(later)) {
    expect(names).toContain("load_accounts 1");
    expect(names).toHaveLength(new Set(names).size);
  }
  // It is these that are run.
  expect(runsIn(later) - runsIn(second)).toBe(10 * (runsIn(second) - runsIn(first)));
});

/** The type of the accounts' keys, and of what refers to them. In the order in which we read the tables, or the two would be in a deadlock. */
const keysTo = (type: string) => `
  do $$
  declare
    key record;
  begin
    lock table m_account in access exclusive mode;
    alter table m_account alter column id drop identity if exists;
    for key in
      select conrelid::regclass as name, conname
      from pg_constraint
      where contype = 'f' and connamespace = 'public'::regnamespace
    loop
      execute format('alter table %s drop constraint %I', key.name, key.conname);
    end loop;
    for key in
      select c.table_name as name, c.column_name
      from information_schema.columns c
      where c.table_schema = 'public'
        and ((c.table_name = 'm_account' and c.column_name = 'id') or c.column_name in ('account_id', 'parentId'))
    loop
      execute format('alter table %I alter column %I type ${type}', key.name, key.column_name);
    end loop;
  end $$`;

interface Alteration {
  readonly what: string;
  readonly options?: TestDatabaseOptions;
  /** Before anything is prepared. */
  readonly shape?: string;
  readonly alter: string;
  /** The key of an account that could not be there before. */
  readonly newId?: string;
  /** What is read of the account afterwards. */
  readonly expected: object;
}

const ALTERATIONS: readonly Alteration[] = [
  {
    what: "the keys from uuid to text",
    alter: keysTo("text"),
    newId: "toko/1 'a'",
    expected: { name: "Toko Uji" },
  },
  {
    what: "the keys from numeric to bigint",
    options: { keyType: "bigint" },
    shape: keysTo("numeric"),
    alter: keysTo("bigint"),
    newId: "9007199254740993",
    expected: { name: "Toko Uji" },
  },
  {
    what: "the keys from bigint to text",
    options: { keyType: "bigint" },
    alter: keysTo("text"),
    newId: "toko/1 'a'",
    expected: { name: "Toko Uji" },
  },
  {
    what: "the keys from bigint to numeric",
    options: { keyType: "bigint" },
    alter: keysTo("numeric"),
    newId: "99999999999999999999",
    expected: { name: "Toko Uji" },
  },
  {
    what: "a column from varchar to text",
    alter: "alter table m_account alter column name type text",
    expected: { name: "Toko Uji" },
  },
  {
    what: "a column from numeric to bigint",
    alter: "alter table m_account_package_tier alter column max_value type bigint",
    expected: { tiers: [{ maxValue: 1000 }, { maxValue: 2000 }] },
  },
  {
    what: "a column that is dropped and added anew with another type",
    alter: `
      alter table m_account drop column no_ktp;
      alter table m_account add column no_ktp bigint default 3171234567890123`,
    expected: { ktp: "3171234567890123" },
  },
  {
    what: "a table that is dropped and made anew with another type",
    shape: "insert into m_account_address (account_id, city) select id, 'Bandung' from m_account",
    alter: `
      begin;
      lock table m_account in access exclusive mode;
      create temporary table kept on commit drop as select * from m_account_address;
      drop table m_account_address;
      create table m_account_address as select * from kept;
      alter table m_account_address alter column account_id type text, alter column city type text;
      commit`,
    expected: { addresses: [{ city: "Bandung" }] },
  },
];

test.each(ALTERATIONS)(
  "$what, altered in the application's open session: nothing fails, and no account looks removed",
  async ({ options = {}, shape, alter, newId, expected }) => {
    const opened = await open(options);
    const { database, pool } = opened;
    const ids = [await insertAccount(database), await insertAccount(database)];
    const missing = options.keyType === "bigint" ? "4711" : crypto.randomUUID();
    await withClient(database.url, async (application) => {
      if (shape !== undefined) await application.query(shape);
      await loadEverywhere(opened, [...ids, missing]);
      for (const names of namesIn(await prepared(pool))) expect(names).toContain("load_accounts 1");

      await application.query(alter);
      if (newId !== undefined)
        await application.query("insert into m_account (id, name) values ($1, 'Toko Uji')", [
          newId,
        ]);
    });

    // All sessions at once, twice: the second time with what was prepared anew. Then in batches of one, which tell a removed account.
    const wanted = [...ids, ...(newId === undefined ? [] : [newId]), missing];
    const loads = [
      ...(await loadEverywhere(opened, wanted)),
      ...(await loadEverywhere(opened, wanted)),
      (await Promise.all(wanted.map((id) => opened.load([id])))).flat(),
    ];

    for (const loaded of loads) {
      expect(loaded.map(({ account }) => account?.id ?? null)).toEqual([
        ...wanted.slice(0, -1),
        null,
      ]);
      for (const { account } of loaded.slice(0, 2)) expect(account).toMatchObject(expected);
    }
  },
);

test("what is stale is prepared anew once, and is stable from then on", async () => {
  const opened = await open();
  const id = await insertAccount(opened.database);
  await loadEverywhere(opened, [id]);

  await opened.database.query(keysTo("text"));
  await opened.load([id]);
  await loadEverywhere(opened, [id]);
  const first = await prepared(opened.pool);
  await loadEverywhere(opened, [id]);

  expect(namesIn(await prepared(opened.pool))).toEqual(namesIn(first));
  for (const names of namesIn(first)) {
    expect(names).toContain("load_accounts 2");
    expect(names).not.toContain("load_accounts 3");
  }
});

test("what is stale on several sessions at once is prepared anew once", async () => {
  const opened = await open();
  const id = await insertAccount(opened.database);
  await loadEverywhere(opened, [id]);

  await opened.database.query(keysTo("text"));
  await loadEverywhere(opened, [id]);
  await loadEverywhere(opened, [id]);

  for (const names of namesIn(await prepared(opened.pool))) {
    expect(names).toContain("load_accounts 2");
    expect(names.filter((name) => /^load_accounts [^12]/.test(name))).toEqual([]);
  }
});

test("an id that no key can hold is no reason to prepare anew", async () => {
  const opened = await open();
  const id = await insertAccount(opened.database);
  await loadEverywhere(opened, [id]);

  const loaded = await opened.load([id, "no uuid"]);

  expect(loaded.map(({ account }) => account?.id ?? null)).toEqual([id, null]);
  await loadEverywhere(opened, [id]);
  for (const names of namesIn(await prepared(opened.pool)))
    expect(names).not.toContain("load_accounts 2");
});

describe("nothing is prepared", () => {
  test("behind a pooler, where the next statement may meet another session", async () => {
    const database = await createTestDatabase({ migrated: true });
    const query = vi.spyOn(pg.Client.prototype, "query");
    const db = openOwnDatabase(database.url, { settingsPerTransaction: true });

    await db.run("installation_id");
    await loadForSync(db, [crypto.randomUUID()], { source: null });

    expect(query.mock.calls.length).toBeGreaterThan(8);
    expect(query.mock.calls.map(([first]) => nameOf(first)).filter(Boolean)).toEqual([]);
  });

  test("with sessions of our own it is", async () => {
    const database = await createTestDatabase({ migrated: true });
    const query = vi.spyOn(pg.Client.prototype, "query");
    const db = openOwnDatabase(database.url);

    await db.run("installation_id");

    expect(query.mock.calls.map(([first]) => nameOf(first)).filter(Boolean)).toEqual([
      "installation_id 1",
    ]);
  });

  test("on a caller's pool, whose sessions are the caller's", async () => {
    const database = await createTestDatabase({ migrated: true });
    const pool = new pg.Pool({ connectionString: database.url, max: SESSIONS });
    pools.push(pool);
    const db = databaseOver(pool, { settingsPerTransaction: false });
    const id = await insertAccount(database);

    const loads = await Promise.all(
      Array.from({ length: SESSIONS }, () =>
        loadForSync({ ...db, close: async () => {} }, [id], { source: null }),
      ),
    );

    expect(loads.map(([one]) => one?.account?.id)).toEqual(Array(SESSIONS).fill(id));
    expect(await prepared(pool)).toEqual(Array(SESSIONS).fill([]));
  });
});

function nameOf(query: unknown): string | undefined {
  return (query as { name?: string } | null)?.name;
}

describe("a transaction that only reads", () => {
  test("does not wait for its begin", async () => {
    const { pool } = await open();
    const events: string[] = [];
    const db = databaseOver(watched(pool, { events }), {
      settingsPerTransaction: false,
      isOwnSession: true,
    });

    await db.snapshot((tx) => tx.run("installation_id"));

    expect(events.slice(0, 3)).toEqual(["begin asked", "query asked", "begin answered"]);
  });

  test("does not wait for its commit, and keeps its connection until then", async () => {
    const { database } = await open();
    const gate = await startStatementGate(database.url);
    const pool = ownPool(gate.url);
    const db = databaseOver(pool, { settingsPerTransaction: false, isOwnSession: true });
    const commit = gate.holdBefore(/^commit$/i);

    const rows = await db.snapshot((tx) => tx.run("installation_id"));

    expect(rows).toHaveLength(1);
    await commit.reached;
    expect([pool.totalCount, pool.idleCount]).toEqual([1, 0]);
    commit.release();
    await eventually(() => expect(pool.idleCount).toBe(1));
  });

  test("whose begin fails is not taken for a snapshot, and its connection is of use afterwards", async () => {
    const { database, pool } = await open();
    const watch = {
      events: [],
      begin: "begin transaction isolation level unknown" as string | null,
    };
    const db = databaseOver(watched(pool, watch), {
      settingsPerTransaction: false,
      isOwnSession: true,
    });
    let read: unknown[] = [];

    const failed = db.snapshot(async (tx) => {
      read = await tx.run("count_unqueued");
      return read;
    });

    await expect(failed).rejects.toMatchObject({ code: "42601" });
    // It was read, outside a transaction, and dropped.
    await eventually(() => expect(read).toHaveLength(1));
    watch.begin = null;
    const seen = await db.snapshot(async (tx) => {
      const first = await tx.run("count_unqueued");
      await database.query("insert into m_account (name) values ('Toko Uji')");
      return [first, await tx.run("count_unqueued")];
    });
    expect(seen[0]).toEqual(seen[1]);
    expect(pool.totalCount).toBe(1);
  });

  test("whose connection breaks before the commit has read what it read, and its connection is closed", async () => {
    const { database } = await open();
    const gate = await startStatementGate(database.url);
    const pool = ownPool(gate.url);
    const db = databaseOver(pool, { settingsPerTransaction: false, isOwnSession: true });
    const commit = gate.holdBefore(/^commit$/i);

    const rows = await db.snapshot((tx) => tx.run("installation_id"));
    await commit.reached;
    const broken = await terminateSessions(database);

    expect(rows).toHaveLength(1);
    expect(broken).toHaveLength(1);
    await eventually(() => expect(pool.totalCount).toBe(0));
    expect(await db.snapshot((tx) => tx.run("installation_id"))).toEqual(rows);
    expect(await sessionsOf(database)).not.toEqual(broken);
  });

  test("and whose work fails is rolled back, and its connection is of use afterwards", async () => {
    const { db, pool } = await open();

    const failed = db.snapshot(async (tx) => {
      await tx.run("installation_id");
      throw new RangeError("not so");
    });

    await expect(failed).rejects.toThrow(RangeError);
    await eventually(() => expect([pool.totalCount, pool.idleCount]).toEqual([1, 1]));
    expect(await db.run("installation_id")).toHaveLength(1);
  });
});

test("a transaction fails with what made it fail, though later queries are heard of sooner", async () => {
  const { db } = await open();
  const inAnotherFunction = async (work: Promise<unknown>) => {
    const all = async () => await Promise.all([work]);
    return await all();
  };

  const failed = db.transaction((tx) =>
    Promise.all([
      inAnotherFunction(tx.run("load_accounts", [["no uuid"], 1, 1])),
      tx.run("installation_id"),
    ]),
  );

  await expect(failed).rejects.toMatchObject({ code: "22P02" });
});

test("what part of a transaction's work asks for when another part has failed is not run", async () => {
  const { database, db, pool } = await open();
  const failed = Promise.withResolvers<void>();
  let late: Promise<unknown> = Promise.resolve();

  const transaction = db.transaction((tx) => {
    late = failed.promise.then(() => tx.run("request_marker", ["all"]));
    return Promise.all([tx.run("load_accounts", [["no uuid"], 1, 1]), late]);
  });
  await expect(transaction).rejects.toMatchObject({ code: "22P02" });
  failed.resolve();

  await expect(late).rejects.toThrow("the transaction is over");
  expect(await database.query("select from account_sync.change")).toEqual([]);
  expect([pool.totalCount, pool.idleCount]).toEqual([1, 1]);
});

test("nor is a savepoint that it asks for then", async () => {
  const { db, pool } = await open();
  const failed = Promise.withResolvers<void>();
  const events: string[] = [];
  const ours = databaseOver(watched(pool, { events }), {
    settingsPerTransaction: false,
    isOwnSession: true,
  });
  let late: Promise<unknown> = Promise.resolve();

  const transaction = ours.transaction((tx) => {
    late = failed.promise.then(() => tx.trySavepoint(() => tx.run("request_marker", ["all"])));
    return Promise.all([tx.run("load_accounts", [["no uuid"], 1, 1]), late]);
  });
  await expect(transaction).rejects.toMatchObject({ code: "22P02" });
  const asked = events.length;
  failed.resolve();

  await expect(late).rejects.toThrow("the transaction is over");
  expect(events).toHaveLength(asked);
  expect(await db.run("installation_id")).toHaveLength(1);
});

test("on a caller's connection, queries, savepoints and the rollback wait for each other's answers", async () => {
  const database = await createTestDatabase({ migrated: true });
  const pool = new pg.Pool({ connectionString: database.url, max: 1 });
  pools.push(pool);
  const events: string[] = [];
  const db = databaseOver(watched(pool, { events }), { settingsPerTransaction: true });

  const failed = db.transaction((tx) =>
    Promise.all([
      tx.run("installation_id"),
      tx.trySavepoint(() => tx.run("request_marker", ["all"])),
      tx.run("load_accounts", [["no uuid"], 1, 1]),
    ]),
  );

  await expect(failed).rejects.toMatchObject({ code: "22P02" });
  const asked = events.filter((event) => event.endsWith("asked"));
  expect(asked.length).toBeGreaterThan(4);
  expect(events).toEqual(asked.flatMap((event) => [event, event.replace("asked", "answered")]));
  expect(pool.idleCount).toBe(1);
});

test("a transaction whose commit is refused has failed, and its connection is of use afterwards", async () => {
  const { database, db, pool } = await open();
  await database.query(`
    create function refuse() returns trigger language plpgsql as $$
      begin raise exception 'no' using errcode = '23514'; end $$;
    create constraint trigger refusing after insert on account_sync.change
      deferrable initially deferred for each row execute function refuse()`);

  const failed = db.transaction((tx) => tx.run("request_marker", ["all"]));

  await expect(failed).rejects.toMatchObject({ code: "23514" });
  expect([pool.totalCount, pool.idleCount]).toEqual([1, 1]);
  expect(await db.run("installation_id")).toHaveLength(1);
});

test("a transaction whose connection breaks between its work and its commit has failed, and its connection is closed", async () => {
  const { database } = await open();
  const gate = await startStatementGate(database.url);
  const pool = ownPool(gate.url);
  const db = databaseOver(pool, { settingsPerTransaction: false, isOwnSession: true });
  const commit = gate.holdBefore(/^commit$/i);

  const failed = db.transaction((tx) => tx.run("request_marker", ["all"])).catch((error) => error);
  await commit.reached;
  const broken = await terminateSessions(database);

  expect(isOutage(await failed)).toBe(true);
  expect(broken).toHaveLength(1);
  await eventually(() => expect(pool.totalCount).toBe(0));
  expect(await database.query("select from account_sync.change")).toEqual([]);
  await db.transaction((tx) => tx.run("request_marker", ["missing"]));
  expect(await database.query("select marker from account_sync.change")).toEqual([
    { marker: "missing" },
  ]);
  expect(await sessionsOf(database)).not.toEqual(broken);
});

interface ConnectionWatch {
  /** What was asked and answered on its connections, in order. */
  readonly events: string[];
  /** What transactions begin with instead. */
  begin?: string | null;
}

function watched(pool: pg.Pool, watch: ConnectionWatch): ConnectionPool {
  const connect = async () => {
    const client = await pool.connect();
    const query = (asked: unknown, ...rest: unknown[]) => {
      const isBegin = typeof asked === "string" && asked.startsWith("begin");
      const name = isBegin ? "begin" : asked === "commit" ? "commit" : "query";
      watch.events.push(`${name} asked`);
      const sent = isBegin ? (watch.begin ?? asked) : asked;
      const answer = (client.query as (...all: unknown[]) => Promise<unknown>).call(
        client,
        sent,
        ...rest,
      );
      return answer.finally(() => watch.events.push(`${name} answered`));
    };
    return replacing(client, { query });
  };
  return replacing(pool, { connect });
}

/** The same object, with something else in the place of one of its methods. */
function replacing<T extends object>(target: T, replaced: Record<string, unknown>): T {
  return new Proxy(target, {
    get(inner, property) {
      if (typeof property === "string" && property in replaced) return replaced[property];
      const value = Reflect.get(inner, property) as unknown;
      return typeof value === "function" ? value.bind(inner) : value;
    },
  });
}

async function sessionsOf(database: TestDatabase): Promise<number[]> {
  const rows = await database.query<{ pid: number }>(
    "select pid from pg_stat_activity where datname = $1 and application_name = 'account-sync test' order by 1",
    [database.name],
  );
  return rows.map(({ pid }) => pid);
}

/** Resolves with those that there were. */
async function terminateSessions(database: TestDatabase): Promise<number[]> {
  const pids = await sessionsOf(database);
  await withClient(serverUrl(), (client) =>
    client.query("select pg_terminate_backend(pid) from unnest($1::int[]) as pid", [pids]),
  );
  await eventually(async () => expect(await sessionsOf(database)).toEqual([]));
  return pids;
}
