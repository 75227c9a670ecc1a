/**
 * A schema account_sync that was taken apart: owners changed by halves, tables dropped. The application's statements go on, doctor says
 * what to run, and after that changes are captured as before.
 */
import { beforeEach, describe, expect, test } from "vitest";
import { withCheckContext } from "../../src/check-context.ts";
import { lookAtRights } from "../../src/checks/rights.ts";
import { lookAtSchemaVersion } from "../../src/checks/server.ts";
import { readConfig } from "../../src/config.ts";
import { migrate } from "../../src/db/migrate.ts";
import type { Diagnosis } from "../../src/operator-error.ts";
import { createDatabase, type TestDatabase } from "../support/postgres.ts";
import { createRole, LEAST_GRANTS, type TestRole } from "../support/roles.ts";

let database: TestDatabase;
let ours: TestRole;
let other: TestRole;

beforeEach(async () => {
  database = await createDatabase();
  ours = await createRole(database, LEAST_GRANTS);
  other = await createRole(database, "");
  await migrate({ url: ours.url, info: () => {} });
});

/** [what was done, in SQL; %other is a role without any rights, how many changes are captured then] */
const HALVES: readonly (readonly [what: string, sql: string, captured: number])[] = [
  ["the schema alone has another owner", "alter schema account_sync owner to %other", 0],
  [
    "the change table alone has another owner",
    "alter table account_sync.change owner to %other",
    0,
  ],
  ["the doorbell alone has another owner", "alter table account_sync.doorbell owner to %other", 1],
  [
    "the function that wakes the daemon has another owner",
    "alter function account_sync.ring() owner to %other; update account_sync.doorbell set wanted_until = 'infinity'",
    1,
  ],
  [
    "the trigger functions have another owner",
    "alter function account_sync.capture_m_account_insert() owner to %other; alter function account_sync.capture_m_account_update() owner to %other",
    0,
  ],
];

describe.each(HALVES)("%s:", (_, sql, captured) => {
  test("the application's statements go on, doctor gives one block to run, and then changes are captured", async () => {
    // A session that has its plans from before, and one that has to make them.
    const before = await database.pool.connect();
    await before.query("insert into m_account (account_no, name) values ('A-0', 'Before')");
    await database.query(sql.replaceAll("%other", other.name));

    await before.query("insert into m_account (account_no, name) values ('A-1', 'One')");
    before.release(true);
    await database.query("insert into m_account (account_no, name) values ('A-2', 'Two')");
    expect(await capturedChanges("A-2")).toBe(captured);

    const [found, ...others] = await findings(lookAtRights);
    expect(others).toEqual([]);
    expect(found?.problem).toMatch(/^Role \w+ does not own /);
    // A text of the log is cut at 1,000 characters, and the rest could not be run.
    expect(found?.remedy.length).toBeLessThan(1_000);
    await expect(migrate({ url: ours.url, info: () => {} })).rejects.toMatchObject({
      message: found?.problem,
      hint: found?.remedy,
    });

    await database.query(pasteable(found));
    expect(await findings(lookAtRights)).toEqual([]);
    await migrate({ url: ours.url, info: () => {} });
    await database.query("insert into m_account (account_no, name) values ('A-3', 'Three')");
    expect(await capturedChanges("A-3")).toBe(1);
  });
});

test("two owners that our role is a member of: what the triggers may not do is found", async () => {
  await database.query(
    `grant ${other.name} to ${ours.name}; alter function account_sync.capture_m_account_insert() owner to ${other.name}`,
  );

  await database.query("insert into m_account (account_no, name) values ('A-1', 'One')");
  const [found] = await findings(lookAtRights);
  await database.query(pasteable(found));
  await database.query("insert into m_account (account_no, name) values ('A-2', 'Two')");

  expect(found?.problem).toBe(
    `The capture triggers run with the rights of role ${other.name}, which may not write to schema account_sync: changes go unnoticed.`,
  );
  expect(await findings(lookAtRights)).toEqual([]);
  expect([await capturedChanges("A-1"), await capturedChanges("A-2")]).toEqual([0, 1]);
});

test("a right that our role has through another one, and loses, fails no statement of a session that is connected", async () => {
  await database.query(
    `grant ${other.name} to ${ours.name}; grant usage on schema account_sync to ${other.name}; alter table account_sync.change owner to ${other.name}`,
  );
  const connected = await database.pool.connect();
  for (const number of ["A-0", "A-1"])
    await connected.query("insert into m_account (account_no, name) values ($1, 'One')", [number]);
  await database.query(`revoke ${other.name} from ${ours.name}`);

  await connected.query("insert into m_account (account_no, name) values ('A-2', 'Two')");
  connected.release(true);

  expect([await capturedChanges("A-1"), await capturedChanges("A-2")]).toEqual([1, 0]);
});

test("a schema without the record of its migrations is found, and the SQL that doctor gives makes room for a new one", async () => {
  await database.query("delete from account_sync.migrations");

  const [found] = await findings(lookAtSchemaVersion);
  await expect(migrate({ url: ours.url, info: () => {} })).rejects.toMatchObject({
    message: found?.problem,
    hint: found?.remedy,
  });
  await database.query(pasteable(found));
  await migrate({ url: ours.url, info: () => {} });

  expect(found?.problem).toMatch(/^Schema account_sync was restored without/);
  expect(await findings(lookAtSchemaVersion)).toEqual([]);
});

test("a schema that an administrator made and left empty is nothing to complain about", async () => {
  await database.query(
    `drop schema account_sync cascade; create schema account_sync authorization ${ours.name}`,
  );

  await migrate({ url: ours.url, info: () => {} });

  expect(await findings(lookAtSchemaVersion)).toEqual([]);
});

function pasteable(finding: Diagnosis | undefined): string {
  return /^(?:do|drop) [\s\S]*/m.exec(finding?.remedy ?? "")?.[0] ?? "";
}

async function findings(look: typeof lookAtRights): Promise<readonly Diagnosis[]> {
  const config = readConfig({
    DATABASE_URL: ours.url,
    CUSTOMER_API_URL: "https://api.example.com",
  });
  return await withCheckContext(config, ours.url, look);
}

async function capturedChanges(accountNo: string): Promise<number> {
  const rows = await database.query(
    "select from account_sync.change where account_id = (select id::text from m_account where account_no = $1)",
    [accountNo],
  );
  return rows.length;
}
