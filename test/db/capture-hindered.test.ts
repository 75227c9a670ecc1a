/** A capture that cannot be written down fails no statement of the application, and says what it missed. */
import { expect, test } from "vitest";
import { migrate } from "../../src/db/migrate.ts";
import { openQueue } from "../support/captured-tables.ts";
import { eventually } from "../support/eventually.ts";
import { createDatabase, withClient } from "../support/postgres.ts";

/** [what is not there, how it went, whether changes are missed then] */
const GONE = [
  ["change table", "drop table account_sync.change", true],
  ["doorbell", "drop table account_sync.doorbell", false],
  ["lane of a change", "drop type account_sync.lane cascade", false],
  ["schema under its name", "alter schema account_sync rename to kept_aside", true],
] as const;

test.each(GONE)("without the %s, statements of every kind go on", async (_, sql, isMissed) => {
  const database = await createDatabase();
  await migrate({ url: database.url, info: () => {} });
  const client = await database.pool.connect();
  const warnings: string[] = [];
  client.on("notice", ({ message = "" }) => warnings.push(message));
  await client.query("insert into m_account (account_no, name) values ('A-0', 'Before')");
  await client.query(sql);

  await client.query("insert into m_account (account_no, name) values ('A-1', 'One')");
  await client.query("update m_account set name = 'Two'");
  await client.query("delete from m_account where account_no = 'A-1'");
  await client.query("truncate m_account cascade");
  client.release(true);

  const missed = warnings.filter((warning) =>
    warning.startsWith("account-sync could not capture a change of"),
  );
  expect(missed.length > 0).toBe(isMissed);
});

test("a doorbell that is gone costs only the wait for the sweep", async () => {
  const database = await createDatabase();
  await migrate({ url: database.url, info: () => {} });
  await database.query("drop table account_sync.doorbell");

  await database.query("insert into m_account (account_no, name) values ('A-1', 'One')");
  await database.query("update m_account set name = 'Two'");

  expect(await database.query("select from account_sync.change")).toHaveLength(2);
});

test("a function that wakes the daemon and is gone costs only the wait for the sweep", async () => {
  const database = await createDatabase();
  await migrate({ url: database.url, info: () => {} });
  await database.query(
    "update account_sync.doorbell set wanted_until = 'infinity'; drop function account_sync.ring()",
  );

  await database.query("insert into m_account (account_no, name) values ('A-1', 'One')");

  expect(await database.query("select from account_sync.change")).toHaveLength(1);
});

test("a change table that goes while a statement runs fails neither it nor the next", async () => {
  const database = await createDatabase();
  await migrate({ url: database.url, info: () => {} });
  const client = await database.pool.connect();
  for (let time = 0; time < 2; time += 1) {
    await client.query("insert into m_account (account_no, name) values ('A-0', 'Before')");
    await client.query("update m_account set name = name || '!'");
  }

  const running = client.query("update m_account set name = name || '?' from pg_sleep(0.5)");
  await eventually(async () => {
    const waiting = await database.query(
      "select from pg_stat_activity where datname = current_database() and wait_event = 'PgSleep'",
    );
    expect(waiting).toHaveLength(1);
  });
  await database.query("drop table account_sync.change");
  await running;
  await client.query("insert into m_account (account_no, name) values ('A-1', 'One')");
  client.release(true);

  expect(await database.query("select from m_account where name like '%?'")).toHaveLength(2);
});

test("the function that the triggers know their plans by may be gone, too", async () => {
  const database = await createDatabase();
  await migrate({ url: database.url, info: () => {} });
  const client = await database.pool.connect();
  for (let time = 0; time < 2; time += 1)
    await client.query("insert into m_account (account_no, name) values ('A-0', 'Before')");
  await database.query(
    "drop function account_sync.plan_nonce(regclass, regclass, regclass); delete from account_sync.change",
  );

  await client.query("update m_account set name = 'Two'");
  await database.query("insert into m_account (account_no, name) values ('A-1', 'One')");
  client.release(true);

  expect(await database.query("select from account_sync.change")).toHaveLength(3);
});

test("row security that the change table got fails no statement, and is said", async () => {
  const database = await createDatabase();
  await migrate({ url: database.url, info: () => {} });
  const role = `owner_${database.name}`;
  // Superusers are above row security, as ours is.
  await database.query(
    `create role ${role};
     grant usage on schema account_sync to ${role};
     grant insert on account_sync.change to ${role};
     grant select on account_sync.doorbell_until to ${role};
     grant execute on function account_sync.plan_nonce(regclass, regclass, regclass) to ${role};
     alter function account_sync.capture_m_account_insert() owner to ${role}`,
  );
  const client = await database.pool.connect();
  const warnings: string[] = [];
  client.on("notice", ({ message = "" }) => warnings.push(message));
  const insert = () =>
    client.query("insert into m_account (account_no, name) values ('A-1', 'One')");
  const changes = async () => (await database.query("select from account_sync.change")).length;
  await insert();
  const before = await changes();

  await database.query("alter table account_sync.change enable row level security");
  await insert();
  client.release(true);
  const during = await changes();
  await database.query(`drop owned by ${role} cascade; drop role ${role}`);

  expect([before, during]).toEqual([1, 1]);
  expect(warnings).toEqual([expect.stringContaining("row security of account_sync.change")]);
});

/** [table, the column that names its account, a write that can come meanwhile, the marker] */
const RENAMED = [
  ["m_account", "id", "insert into m_account (account_no, name) values ('A-2', 'Two')", "unqueued"],
  ["m_account", "id", "update m_account set name = 'Two'", "known"],
  ["m_account", "id", "delete from m_account_pic; delete from m_account", "known"],
  ["m_account_pic", "account_id", "update m_account_pic set name = 'Sari'", "known"],
  ["m_account_pic", "account_id", "delete from m_account_pic", "known"],
  ["m_bank", "id", "update m_bank set uuid_be = 'ext'", "known"],
] as const;

test.each(RENAMED)(
  "while %s has another name for its %s, a write is a marker, which becomes its account: %s",
  async (table, column, write, marker) => {
    const database = await createDatabase();
    await migrate({ url: database.url, info: () => {} });
    await database.query(
      `with account as (insert into m_account (account_no, name) values ('A-1', 'One') returning id)
       insert into m_account_pic (account_id, name, phone_no, email) select id, 'Siti', '0813', '' from account;
       insert into m_bank (name) values ('Bank Uji')`,
    );
    const queue = openQueue(database);
    await queue.fold();

    await withClient(database.url, (client) =>
      client.query(
        `begin;
         alter table ${table} rename ${column} to other_name;
         ${write};
         delete from ${table} where false;
         alter table ${table} rename other_name to ${column};
         commit`,
      ),
    );

    const changes = await database.query("select account_id, marker from account_sync.change");
    expect(changes).toContainEqual({ account_id: null, marker });
    expect(changes.filter((change) => change["marker"] !== null)).toHaveLength(1);

    await queue.fold();
    while (await queue.expand());
    expect(await database.query("select from account_sync.change")).toHaveLength(1);
  },
);
