/** Sequences behind their tables: found from the catalog, set by whoever meets them first, and never set back. */
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { createDatabase as openDatabase } from "../../src/db/database.ts";
import type { RepairedIdentity } from "../../src/db/identities.ts";
import { migrate } from "../../src/db/migrate.ts";
import { createDatabase, type TestDatabase } from "../support/postgres.ts";
import { createRole, LEAST_GRANTS } from "../support/roles.ts";

let database: TestDatabase;

beforeEach(async () => {
  database = await createDatabase({ migrated: true });
});

const opened: { close(): Promise<void> }[] = [];

afterEach(async () => {
  for (const one of opened.splice(0)) await one.close();
});

test("every identity of the schema is the primary key of its table, which is how a collision is told", async () => {
  const identities = await database.query<{ name: string; isKey: boolean }>(
    `select
       c.relname as name,
       exists (
         select from pg_constraint k
         where k.conrelid = c.oid and k.conkey = array[a.attnum] and k.conname = c.relname || '_pkey'
       ) as "isKey"
     from pg_attribute a
     join pg_class c on c.oid = a.attrelid
     where c.relnamespace = 'account_sync'::regnamespace
       and pg_get_serial_sequence(c.oid::regclass::text, a.attname) is not null
       and c.relkind = 'r' and a.attnum > 0 and not a.attisdropped`,
  );

  expect(identities.map(({ name }) => name)).toEqual(
    expect.arrayContaining(["attempt", "expansion"]),
  );
  expect(identities.filter(({ isKey }) => !isKey)).toEqual([]);
});

/** What gives out an id of each kind, through the same door as all statements of ours. */
const INSERTS = [
  {
    table: "attempt",
    key: "attempt_id",
    statement: "record_attempts",
    parameters: (n: number) => [
      JSON.stringify([
        {
          accountId: `a${n}`,
          generation: 1,
          trigger: "change",
          outcome: "unchanged",
          durationMs: 1,
          warnings: 0,
        },
      ]),
    ],
    seed: `insert into account_sync.attempt (account_id, generation, trigger, settled_at)
           select n::text, 1, 'change', now() from generate_series(1, 20) n`,
  },
  {
    table: "expansion",
    key: "expansion_id",
    statement: "fold_changes",
    parameters: () => [1, 0, 0],
    seed: `insert into account_sync.expansion (marker, marker_id, lane, changed_at)
           select 'm_bank', n::text, 'backfill', now() from generate_series(1, 20) n;
           insert into account_sync.change (marker, marker_id)
           select 'm_account_type', n::text from generate_series(1, 50) n`,
  },
] as const;

describe.each(INSERTS)("$table", ({ table, key, statement, parameters, seed }) => {
  const setBack = (to = 1) =>
    database.query(
      `select setval(pg_get_serial_sequence('account_sync.${table}', '${key}'), ${to}, false)`,
    );
  const ids = async () =>
    (
      await database.query<{ id: number }>(
        `select ${key}::int as id from account_sync.${table} order by ${key}`,
      )
    ).map(({ id }) => id);

  test("a statement that meets a sequence set back is run again, once, and tells of it", async () => {
    const { db, repaired } = open();
    await database.query(seed);
    await setBack();

    await db.run(statement, parameters(1));

    expect(await ids()).toEqual([...range(1, 20), 21]);
    expect(repaired).toEqual([
      { sequence: `account_sync.${table}_${key}_seq`, last: "1", highest: "20" },
    ]);
  });

  test("a transaction is run again as a whole, from inside a savepoint, too", async () => {
    const { db } = open();
    await database.query(seed);
    await setBack();
    let runs = 0;

    const result = await db.transaction(async (tx) => {
      runs += 1;
      await tx.run("mark_accounts", [["b"]]);
      return await tx.trySavepoint(() => tx.run(statement, parameters(1)));
    });

    expect(result).toHaveProperty("value");
    expect(runs).toBe(2);
    expect(await ids()).toHaveLength(21);
  });

  test("two processes that insert while it is set back again and again lose nothing, and it never goes back", async () => {
    const one = open();
    const other = open();
    await database.query(seed);

    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 1, max: 20 }), async (to) => {
        const before = await ids();
        await setBack(to);

        await Promise.all(
          [one, other, one, other].map(({ db }, n) => db.run(statement, parameters(n))),
        );

        const after = await ids();
        expect(after).toHaveLength(before.length + 4);
        expect(Math.min(...after.slice(before.length))).toBeGreaterThan(Math.max(...before));
        expect(await lagging()).toEqual([]);
      }),
      { numRuns: 10 },
    );
  });

  test("a migrate sets it and says so, and so does one of two that start together", async () => {
    await database.query(seed);
    await setBack();
    const said: string[] = [];
    const migrates = () => migrate({ url: database.url, info: (message) => said.push(message) });

    await Promise.all([migrates(), migrates()]);

    expect(said).toEqual([
      `Sequence account_sync.${table}_${key}_seq was behind its table, at 0, and is set to 20, the highest id there`,
    ]);
    expect(await lagging()).toEqual([]);
    await migrates();
    expect(said).toHaveLength(1);
  });
});

test("both behind at once: both are set", async () => {
  const { db, repaired } = open();
  for (const { table, key, seed } of INSERTS) {
    await database.query(seed);
    await database.query(
      `select setval(pg_get_serial_sequence('account_sync.${table}', '${key}'), 1, false)`,
    );
  }

  await db.repairIdentities();

  expect(repaired.map(({ sequence }) => sequence)).toEqual([
    "account_sync.attempt_attempt_id_seq",
    "account_sync.expansion_expansion_id_seq",
  ]);
  expect(await lagging()).toEqual([]);
});

test("a table that a later version adds is covered, too", async () => {
  const { db } = open();
  await database.query(
    `create table account_sync."Later" ("the id" bigint generated always as identity primary key);
     insert into account_sync."Later" overriding system value values (7)`,
  );

  await db.repairIdentities();

  expect(
    await database.query(`insert into account_sync."Later" default values returning "the id"::int`),
  ).toEqual([{ "the id": 8 }]);
});

test("a sequence that is ahead, or of an empty table, is left alone", async () => {
  const { db, repaired } = open();
  await database.query("select setval('account_sync.attempt_attempt_id_seq', 500)");

  await db.repairIdentities();

  expect(repaired).toEqual([]);
  expect(
    await database.query("select last_value::int from account_sync.attempt_attempt_id_seq"),
  ).toEqual([{ last_value: 500 }]);
});

test("a role that may not set it is told which, and what to run", async () => {
  const role = await createRole(
    database,
    `grant usage on schema account_sync to %role;
     grant select, insert, update, delete on all tables in schema account_sync to %role;
     grant usage, select on all sequences in schema account_sync to %role;
     grant execute on all functions in schema account_sync to %role;`,
  );
  const { db } = open(role.url);
  await database.query(INSERTS[0].seed);
  await database.query("select setval('account_sync.attempt_attempt_id_seq', 1)");

  await expect(db.run("record_attempts", INSERTS[0].parameters(1))).rejects.toMatchObject({
    message: `sequence account_sync.attempt_attempt_id_seq is behind its table, and role ${role.name} may not set it`,
    hint: "Run `account-sync migrate` as the owner of schema account_sync, which sets it.",
  });

  await database.query(
    `grant update on sequence account_sync.attempt_attempt_id_seq to ${role.name}`,
  );
  await db.run("record_attempts", INSERTS[0].parameters(1));
});

test("the role that migrated, with the least rights, may set it", async () => {
  const bare = await createDatabase();
  const role = await createRole(bare, LEAST_GRANTS);
  await migrate({ url: role.url, info: () => {} });
  await bare.query(INSERTS[0].seed);
  await bare.query("select setval('account_sync.attempt_attempt_id_seq', 1)");
  const { db, repaired } = open(role.url);

  await db.run("record_attempts", INSERTS[0].parameters(1));

  expect(repaired).toHaveLength(1);
});

function open(url = database.url) {
  const repaired: RepairedIdentity[] = [];
  const db = openDatabase({
    url,
    applicationName: "account-sync test",
    max: 3,
    synchronousCommit: "on",
    settingsPerTransaction: false,
    onError: () => {},
    onRepaired: (one) => repaired.push(one),
  });
  opened.push(db);
  return { db, repaired };
}

async function lagging() {
  return await database.query("select * from account_sync.lagging_identity()");
}

function range(from: number, to: number): number[] {
  return Array.from({ length: to - from + 1 }, (_, n) => from + n);
}
