/** The source tables with change capture installed, written to as the application would, and what the triggers append then. */
import { randomUUID } from "node:crypto";
import type pg from "pg";
import { afterEach } from "vitest";
import { type Database, createDatabase as openDatabase } from "../../src/db/database.ts";
import { createQueue, type Queue } from "../../src/queue/queue.ts";
import { createDatabase, type TestDatabase, withClient } from "./postgres.ts";

export interface CapturedTables {
  readonly database: TestDatabase;
  readonly url: string;
  query: TestDatabase["query"];
  /** Forgets all changes and markers; the source tables stay as they are. */
  reset(): Promise<void>;
  /** Removes all changes. Resolves with them, in an order of no meaning but the same every time. */
  takeChanges(): Promise<Change[]>;
  /** Inserts a row, with values for what the table requires. Resolves with its id. */
  insert(table: string, values?: Readonly<Record<string, string | null>>): Promise<string>;
  insertAccount(values?: Readonly<Record<string, string>>): Promise<string>;
  /** The state of the account's row in the queue; null where it has none. */
  stateOf(accountId: string): Promise<string | null>;
  /** Runs `use` as a role that may do with the source tables what an application does, and nothing else. */
  asApplicationRole<T>(use: (client: pg.Client, role: string) => Promise<T>): Promise<T>;
}

/** A change as it was appended, without what is null. */
export interface Change {
  readonly account_id?: string;
  readonly marker?: string;
  readonly marker_id?: string;
  readonly external_id?: string;
}

export async function createCapturedTables(): Promise<CapturedTables> {
  const database = await createDatabase({ migrated: true });
  const { url, query } = database;

  const tables: CapturedTables = {
    database,
    url,
    query,

    async reset() {
      await tables.takeChanges();
      await query("delete from account_sync.expansion");
    },

    async takeChanges() {
      const rows = await query<{ change: Change }>(
        `with taken as (delete from account_sync.change returning account_id, marker, marker_id, external_id)
         select json_strip_nulls(row_to_json(taken)) as change from taken order by account_id, external_id nulls first, marker`,
      );
      return rows.map((row) => row.change);
    },

    async insert(table, values = {}) {
      const row = { ...REQUIRED[table], ...values };
      const columns = Object.keys(row);
      const given =
        columns.length === 0
          ? "default values"
          : `(${columns.join(", ")}) values (${columns.map((_, index) => `$${index + 1}`).join(", ")})`;
      const [inserted] = await query<{ id: string }>(
        `insert into ${table} ${given} returning id`,
        Object.values(row),
      );
      if (inserted === undefined) throw new Error(`nothing was inserted into ${table}`);
      return inserted.id;
    },

    insertAccount: (values) => tables.insert("m_account", values),

    async stateOf(accountId) {
      const [row] = await query<{ state: string }>(
        "select state from account_sync.status where account_id = $1",
        [accountId],
      );
      return row?.state ?? null;
    },

    async asApplicationRole(use) {
      const role = `application_${randomUUID().replaceAll("-", "")}`;
      await query(
        `create role ${role}; grant select, insert, update, delete on all tables in schema public to ${role}`,
      );
      try {
        return await withClient(url, async (client) => {
          await client.query(`set role ${role}`);
          return await use(client, role);
        });
      } finally {
        await query(`drop owned by ${role}; drop role ${role}`);
      }
    },
  };
  return tables;
}

const REQUIRED: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  m_account: { name: "Toko Uji" },
  m_account_package_tier: {
    min_value: "1",
    max_value: "1000",
    amount: "2.5",
    start_date: "2026-01-01",
    end_date: "2026-12-31",
  },
  m_account_pic: { name: "Budi", phone_no: "0812", email: "" },
  m_bank: { name: "Bank Uji" },
  m_account_type: { name: "parent" },
  m_account_billing_method: { method: "invoice" },
};

/** One change of each of these accounts, in the order in which they are taken. */
export function byAccount(ids: readonly string[]): Change[] {
  return ids.toSorted().map((id) => ({ account_id: id }));
}

const opened: Database[] = [];

afterEach(async () => {
  for (const db of opened.splice(0)) await db.close();
});

/** A queue that folds and expands, and claims nothing: its quiet period is a minute. Closed after the test. */
export function openQueue(on: TestDatabase): Queue {
  const db = openDatabase({
    url: on.url,
    applicationName: "capture test",
    max: 2,
    synchronousCommit: "on",
    settingsPerTransaction: false,
    onError: () => {},
  });
  opened.push(db);
  return createQueue({
    db,
    relaxedDb: db,
    quietPeriodMs: 60_000,
    maxWaitMs: 60_000,
    leaseMs: 1_000,
  });
}
