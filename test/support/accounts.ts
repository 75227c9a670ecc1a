/** Accounts as the application would write them. */
import type { TestDatabase } from "./postgres.ts";

export interface NewAccount {
  /** Also what the sandbox tells accounts apart by. */
  readonly accountNo?: string;
  readonly name?: string;
  readonly parentId?: string | null;
  readonly tiers?: number;
  readonly pics?: number;
}

/** Inserts one account with its tiers and PICs in one transaction. Resolves with its id. */
export async function insertAccount(
  database: Pick<TestDatabase, "query">,
  { accountNo = "A-1", name = "Toko Uji", parentId = null, tiers = 2, pics = 2 }: NewAccount = {},
): Promise<string> {
  const [row] = await database.query<{ id: string }>(
    `with account as (
       insert into m_account (account_no, name, phone_no, email, no_ktp, no_npwp, "parentId")
       values ($5, $1, '081234567890', 'toko@example.com', '3171234567890123', '12.345.678.9-012.345', $2)
       returning id
     ), tier as (
       insert into m_account_package_tier (account_id, min_value, max_value, amount, start_date, end_date, percentage)
       select id, n * 1000, (n + 1) * 1000, 5.5 - n, '2026-01-01', '2026-12-31', true
       from account, generate_series(0, $3 - 1) n
     ), pic as (
       insert into m_account_pic (account_id, name, phone_no, email, created_at)
       select id, 'Budi Uji ' || n, '0812 1111 22' || n, 'budi' || n || '@example.com', timestamp '2026-01-01' + n * interval '1 day'
       from account, generate_series(1, $4) n
     )
     select id from account`,
    [name, parentId, tiers, pics, accountNo],
  );
  if (row === undefined) throw new Error("the account was not inserted");
  return row.id;
}

/** Inserts many bare accounts in one statement. */
export async function insertAccounts(
  database: Pick<TestDatabase, "query">,
  count: number,
): Promise<void> {
  await database.query(
    "insert into m_account (account_no, name, phone_no, email) select 'A-' || n, 'Toko ' || n, '081234567890', 'toko@example.com' from generate_series(1, $1) n",
    [count],
  );
}

export interface ExternalIds {
  readonly account: string | null;
  readonly branch: string | null;
  readonly tiers: readonly (string | null)[];
  readonly pics: readonly (string | null)[];
  readonly updatedBy: string | null;
}

/** The external ids of one account, tiers by min_value and PICs by age: the order they are sent in. */
export async function externalIds(
  database: Pick<TestDatabase, "query">,
  id: string,
): Promise<ExternalIds> {
  const [row] = await database.query<{ ids: ExternalIds }>(
    `select json_build_object(
       'account', a.uuid_be,
       'branch', a.branch_uuid_be,
       'updatedBy', a.updated_by,
       'tiers', (select coalesce(json_agg(uuid_be order by min_value), '[]') from m_account_package_tier where account_id = a.id),
       'pics', (select coalesce(json_agg(uuid_be order by created_at), '[]') from m_account_pic where account_id = a.id)
     ) as ids
     from m_account a where id = $1`,
    [id],
  );
  if (row === undefined) throw new Error(`there is no account ${id}`);
  return row.ids;
}
