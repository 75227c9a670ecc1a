/** A capture that cannot be written down fails no statement of the application, and says what it missed. */
import { expect, test } from "vitest";
import { migrate } from "../../src/db/migrate.ts";
import { eventually } from "../support/eventually.ts";
import { createDatabase } from "../support/postgres.ts";

/** [what is not there, how it went, whether changes are missed then] */
const GONE = [
  ["change table", "drop table account_sync.change", true],
  ["doorbell", "drop table account_sync.doorbell", false],
  ["lane of a change", "drop type account_sync.lane cascade", false],
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

test("a key that was renamed, or is null, fails no delete", async () => {
  const database = await createDatabase();
  await migrate({ url: database.url, info: () => {} });
  await database.query("insert into m_account (account_no, name) values ('A-1', 'One')");
  await database.query("alter table m_account rename id to account_uid");

  await database.query("delete from m_account");

  expect(await database.query("select from m_account")).toEqual([]);
});
