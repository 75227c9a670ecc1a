/**
 * The row triggers of the peers: on the three tables of an account, for the columns that are sent, so that writing ids back triggers
 * nothing. `body` is PL/pgSQL that does something about `account_id`.
 */
import type { Database } from "../lab/postgres.ts";

const TABLES = [
  {
    name: "m_account",
    accountId: "id",
    columns:
      'name, email, phone_no, no_ktp, no_npwp, account_no, account_type_id, "parentId", is_active',
  },
  {
    name: "m_account_package_tier",
    accountId: "account_id",
    columns:
      "account_id, min_value, max_value, amount, start_date, end_date, percentage, is_active, billing_method_id",
  },
  {
    name: "m_account_pic",
    accountId: "account_id",
    columns: "account_id, name, phone_no, email, no_ktp, no_npwp, username, is_active",
  },
];

export async function installRowTriggers(database: Database, body: string): Promise<void> {
  for (const { name, accountId, columns } of TABLES) {
    await database.query(
      `create function ${name}_changed() returns trigger language plpgsql as $$
       declare
         account_id uuid := new.${accountId};
       begin
         ${body}
         return null;
       end
       $$`,
    );
    await database.query(
      `create trigger ${name}_changed after insert or update of ${columns} on ${name}
       for each row execute function ${name}_changed()`,
    );
  }
}
