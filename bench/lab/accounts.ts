/** The accounts of a benchmark: the sample source tables, filled with accounts of two tiers and two contact persons each. */
import { createSourceTables } from "../../src/local/source-tables.ts";
import type { Database, Postgres } from "./postgres.ts";

/** The name of a template database that holds this many accounts, and nothing of any contender. */
export async function ensureAccounts(postgres: Postgres, accounts: number): Promise<string> {
  return await postgres.ensureTemplate(`template_accounts_${accounts}`, async (database) => {
    await createSourceTables({ query: (sql) => database.query(sql) });
    // What an application of this size has: without them every load reads whole tables, whoever does it.
    await database.query("create index on m_account_package_tier (account_id)");
    await database.query("create index on m_account_pic (account_id)");
    await database.query("create index on m_account (account_no)");
    await database.query("insert into m_account_type (name) values ('branch')");
    await insertAccounts(database, accounts);
    await database.query("vacuum (analyze)");
  });
}

/** Accounts numbered A0000001 and up, valid without a warning but for the address that they lack. */
async function insertAccounts(database: Database, accounts: number): Promise<void> {
  await database.query(
    `insert into m_account (account_no, name, phone_no, email, account_type_id, no_ktp, no_npwp, created_by)
     select
       'A' || lpad(n::text, 7, '0'),
       'Toko Melati ' || n,
       '0812' || lpad(n::text, 8, '0'),
       'toko' || n || '@melati.example',
       (select id from m_account_type),
       '3171' || lpad(n::text, 12, '0'),
       lpad(n::text, 15, '0'),
       'bench'
     from generate_series(1, $1::integer) n`,
    [accounts],
  );
  await database.query(
    `insert into m_account_package_tier (account_id, min_value, max_value, amount, start_date, end_date, percentage, created_by)
     select a.id, t.n * 1000000, (t.n + 1) * 1000000 - 1, 2.5, '2026-01-01', '2035-12-31', true, 'bench'
     from m_account a cross join generate_series(0, 1) t(n)`,
  );
  await database.query(
    `insert into m_account_pic (account_id, name, phone_no, email, no_ktp, username, created_by)
     select
       a.id,
       'Siti Contohwati ' || p.n,
       '0813' || substr(a.account_no, 2) || p.n,
       'pic' || p.n || '-' || a.email,
       a.no_ktp,
       'siti' || p.n || substr(a.account_no, 2),
       'bench'
     from m_account a cross join generate_series(1, 2) p(n)`,
  );
}

/** How many accounts one statement edits: a queue that adds jobs row by row would hold its locks for minutes otherwise. */
const EDIT_BATCH = 1_000;

/** Changes the name of every account, as an application does. */
export async function editEveryAccount(database: Database, name: string): Promise<void> {
  const [row] = await database.query<{ count: number }>(
    "select count(*)::integer as count from m_account",
  );
  for (let from = 1; from <= (row?.count ?? 0); from += EDIT_BATCH) {
    await database.query(
      "update m_account set name = $1 || account_no where account_no between $2 and $3",
      [name, toAccountNo(from), toAccountNo(from + EDIT_BATCH - 1)],
    );
  }
}

export function toAccountNo(n: number): string {
  return `A${String(n).padStart(7, "0")}`;
}

/** Rows that still lack the id which the API gave out. */
export async function countRowsWithoutId(database: Database): Promise<number> {
  const [row] = await database.query<{ count: number }>(
    `select (
       (select count(*) from m_account where uuid_be is null)
       + (select count(*) from m_account_package_tier where uuid_be is null)
       + (select count(*) from m_account_pic where uuid_be is null)
     )::integer as count`,
  );
  return row?.count ?? 0;
}
