/** Every marker, while a table or column that its expansion reads is away for a moment or for good. */
import { expect, test } from "vitest";
import { migrate } from "../../src/db/migrate.ts";
import { queryNames } from "../../src/db/queries.ts";
import {
  byAccount,
  type CapturedTables,
  createCapturedTables,
  openQueue,
} from "../support/captured-tables.ts";

/** What each marker reads. `known` reads the queue alone. */
const READS: Readonly<Record<string, readonly (readonly [table: string, column: string])[]>> = {
  all: [["m_account", "id"]],
  known: [],
  m_account_billing_method: [["m_account_package_tier", "billing_method_id"]],
  m_account_type: [["m_account", "account_type_id"]],
  m_bank: [["m_account_bank", "bank_id"]],
  missing: [
    ["m_account", "uuid_be"],
    ["m_account_package_tier", "uuid_be"],
    ["m_account_pic", "is_active"],
  ],
  unqueued: [["m_account", "id"]],
};

const AWAY = [
  {
    how: "renamed away",
    away: (table: string) => `alter table ${table} rename to kept`,
    back: (table: string) => `alter table kept rename to ${table}`,
  },
  {
    how: "dropped and created again",
    away: (table: string) => `create table kept as table ${table}; drop table ${table} cascade`,
    back: (table: string) => `alter table kept rename to ${table}`,
  },
  {
    how: "with its column renamed",
    away: (table: string, column: string) => `alter table ${table} rename ${column} to kept`,
    back: (table: string, column: string) => `alter table ${table} rename kept to ${column}`,
  },
] as const;

const CASES = Object.entries(READS).flatMap(([marker, reads]) =>
  reads.flatMap(([table, column]) => AWAY.map((away) => ({ marker, table, column, ...away }))),
);

test("every marker that can be expanded is tried here", () => {
  const markers = queryNames()
    .map((name) => /(?:^|\/)expand_(\w+)$/.exec(name)?.[1])
    .filter((marker) => marker !== undefined);

  expect(Object.keys(READS).sort()).toEqual(markers.toSorted());
});

test.each(CASES)(
  "$marker is kept while $table is $how ($column), and reaches its accounts afterwards",
  async ({ marker, table, column, away, back }) => {
    const tables = await createCapturedTables();
    const { accountId, markerId } = await insertAccountOfAll(tables, marker);
    const queue = openQueue(tables.database);
    await tables.query(away(table, column));
    await ask(tables, marker, markerId);
    await queue.fold();

    const failed = await queue.expand();
    const standing = await standingOf(tables);
    const second = await queue.expand();
    await tables.query(back(table, column));
    await untilDue(tables);
    const expanded = await queue.expand();

    expect(failed).toMatchObject({
      error: { code: expect.stringMatching(/^(?:42P01|42703)$/) },
      againInMs: 1_000,
    });
    expect(standing).toMatchObject([{ marker, failures: 1 }]);
    expect(second).toBe(false);
    expect(expanded).toBe(true);
    expect(await tables.takeChanges()).toEqual(byAccount([accountId]));
    expect(await standingOf(tables)).toEqual([]);
  },
);

test("known needs no source table", async () => {
  const tables = await createCapturedTables();
  const { accountId } = await insertAccountOfAll(tables, "known");
  const queue = openQueue(tables.database);
  await tables.query(
    "insert into account_sync.account (account_id, lane, last_changed_at) values ($1, 'change', now())",
    [accountId],
  );
  await tables.query("alter table m_account rename to kept");
  await ask(tables, "known", null);
  await queue.fold();

  expect(await queue.expand()).toBe(true);

  expect(await tables.takeChanges()).toEqual(byAccount([accountId]));
});

test("the wait doubles to eight seconds, and all markers of the kind wait together", async () => {
  const tables = await createCapturedTables();
  const queue = openQueue(tables.database);
  await tables.query("alter table m_account_bank rename to kept");
  for (let n = 0; n < 50; n += 1) await ask(tables, "m_bank", crypto.randomUUID());
  await ask(tables, "all", null);
  await queue.fold();

  const waits = [];
  for (let failure = 0; failure < 6; failure += 1) {
    await untilDue(tables);
    for (let step = await queue.expand(); step !== false; step = await queue.expand())
      if (step !== true) waits.push(step.againInMs);
  }

  expect(waits).toEqual([1_000, 2_000, 4_000, 8_000, 8_000, 8_000]);
  expect(await standingOf(tables)).toHaveLength(50);
});

test("a marker is given up when capture is no longer installed on what it is expanded along", async () => {
  const tables = await createCapturedTables();
  const queue = openQueue(tables.database);
  await tables.query(
    "alter table m_account_bank drop column bank_id; alter table m_account drop column account_type_id cascade",
  );
  await ask(tables, "m_bank", crypto.randomUUID());
  await ask(tables, "m_account_type", crypto.randomUUID());
  await queue.fold();

  const before = [await queue.expand(), await queue.expand(), await queue.expand()];
  await tables.query("select account_sync.remove_capture('m_account_bank')");
  await migrate({ url: tables.url, info: () => {} });
  await untilDue(tables);
  const after = [await queue.expand(), await queue.expand(), await queue.expand()];

  expect(before).toMatchObject([{ againInMs: 1_000 }, { againInMs: 1_000 }, false]);
  expect(after).toMatchObject([{ againInMs: null }, { againInMs: null }, false]);
  expect(await standingOf(tables)).toEqual([]);
});

test("a walk goes on from the first account when the keys have another type than before", async () => {
  const tables = await createCapturedTables();
  const queue = openQueue(tables.database);
  await tables.insertAccount();
  await tables.query(
    "insert into account_sync.expansion (marker, lane, changed_at, watermark) values ('all', 'backfill', now(), 'not a uuid')",
  );
  await tables.takeChanges();

  expect([await queue.expand(), await queue.expand(), await queue.expand()]).toEqual([
    true,
    true,
    false,
  ]);

  expect(await tables.takeChanges()).toHaveLength(1);
});

/** An account that this marker is about. */
async function insertAccountOfAll(tables: CapturedTables, marker: string) {
  const typeId = await tables.insert("m_account_type");
  const bankId = await tables.insert("m_bank");
  const methodId = await tables.insert("m_account_billing_method");
  const accountId = await tables.insertAccount({ account_type_id: typeId });
  await tables.insert("m_account_package_tier", {
    account_id: accountId,
    billing_method_id: methodId,
  });
  await tables.insert("m_account_bank", { account_id: accountId, bank_id: bankId });
  await tables.reset();
  const markerIds: Readonly<Record<string, string>> = {
    m_account_type: typeId,
    m_bank: bankId,
    m_account_billing_method: methodId,
  };
  return { accountId, markerId: markerIds[marker] ?? null };
}

async function ask(tables: CapturedTables, marker: string, markerId: string | null): Promise<void> {
  await tables.query(
    "insert into account_sync.change (marker, marker_id, lane) values ($1, $2, 'change')",
    [marker, markerId],
  );
}

async function standingOf(tables: CapturedTables) {
  return await tables.query(
    "select marker, failures, error from account_sync.expansion order by expansion_id",
  );
}

/** Time passes. */
async function untilDue(tables: CapturedTables): Promise<void> {
  await tables.query("update account_sync.expansion set due_at = now()");
}
