/** Ordinary roles, as an administrator would make them for account-sync: gone at the end of the file, with what they own. */
import { randomBytes } from "node:crypto";
import { afterAll } from "vitest";
import type { TestDatabase } from "./postgres.ts";

export interface TestRole {
  readonly name: string;
  /** The test's database, as this role. */
  readonly url: string;
}

const roles: { readonly name: string; readonly database: TestDatabase }[] = [];

afterAll(async () => {
  for (const { name, database } of roles.splice(0)) {
    await database.query(
      `reassign owned by ${name} to current_user; drop owned by ${name}; drop role ${name}`,
    );
  }
});

/** `%role` in the grants stands for its name. */
export async function createRole(database: TestDatabase, grants: string): Promise<TestRole> {
  const name = `ordinary_${randomBytes(6).toString("hex")}`;
  await database.query(`create role ${name} login password 'secret'`);
  roles.push({ name, database });
  if (grants !== "") await database.query(grants.replaceAll("%role", name));
  const url = new URL(database.url);
  url.username = name;
  url.password = "secret";
  return { name, url: url.href };
}

/** What README asks for, and nothing else. */
export const LEAST_GRANTS = `
  create schema account_sync authorization %role;
  grant select, trigger on m_account, m_account_package_tier, m_account_pic, m_account_address, m_account_bank, m_bank, m_account_type, m_account_billing_method to %role;
  grant update (uuid_be, branch_uuid_be, updated_by, updated_at) on m_account to %role;
  grant update (uuid_be, updated_by, updated_at) on m_account_package_tier, m_account_pic to %role;
`;
