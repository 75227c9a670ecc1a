/** Looks up what accounts refer to and were handed in without: the name of the type, the parent's and the banks' external ids. */

import type { Account } from "../account/account.ts";
import { describeSource } from "../account/source.ts";
import type { Queryable } from "../db/database.ts";
import type { GivenAccount } from "./account-data.ts";

/** Resolves with the accounts in order. Rejects where an id is none that the key of its table can hold. */
export async function lookUpReferences(
  db: Queryable,
  given: readonly GivenAccount[],
): Promise<Account[]> {
  const typeIds = distinct(given.map(({ refersTo }) => refersTo.typeId));
  const parentIds = distinct(given.map(({ refersTo }) => refersTo.parentId));
  const bankIds = distinct(given.flatMap(({ refersTo }) => refersTo.bankIds));
  if (typeIds.length + parentIds.length + bankIds.length === 0)
    return given.map(({ account }) => account);

  const source = await describeSource(db);
  const lookUp = async (table: string, query: string, ids: readonly string[]) => {
    if (ids.length === 0 || !source.has(table)) return new Map<string, string | null>();
    const rows = await db.run<{ id: string; value?: string | null; externalId?: string | null }>(
      query,
      [ids],
    );
    return new Map(rows.map((row) => [row.id, row.value ?? row.externalId ?? null]));
  };
  const typeNames = await lookUp("m_account_type", "load_account_types", typeIds);
  const parents = await lookUp("m_account", "read_account_ids", parentIds);
  const banks = await lookUp("m_bank", "load_banks", bankIds);

  return given.map(({ account, refersTo }) => ({
    ...account,
    typeName: account.typeName ?? typeNames.get(refersTo.typeId ?? "") ?? null,
    parent:
      refersTo.parentId === null
        ? account.parent
        : { id: refersTo.parentId, externalId: parents.get(refersTo.parentId) ?? null },
    bankAccounts: account.bankAccounts.map((bankAccount, position) => ({
      ...bankAccount,
      bankExternalId:
        bankAccount.bankExternalId ?? banks.get(refersTo.bankIds[position] ?? "") ?? null,
    })),
  }));
}

function distinct(ids: readonly (string | null)[]): string[] {
  return [...new Set(ids.filter((id) => id !== null))];
}
