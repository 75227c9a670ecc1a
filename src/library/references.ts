/**
 * Looks up what the given accounts refer to by id only: the name of the type, the external ids of the parent and of the banks.
 */
import type { Account } from "../account/account.ts";
import { describeSource } from "../account/source.ts";
import type { Queryable } from "../db/database.ts";
import { lookUp } from "./look-up.ts";
import type { GivenAccount } from "./parse-account-data.ts";

/** Resolves with the accounts, in order. Rejects where the key's type of a table cannot hold an id. */
export async function lookUpReferences(
  db: Queryable,
  given: readonly GivenAccount[],
): Promise<Account[]> {
  const typeIds = given.map(({ refersTo }) => refersTo.typeId);
  const parentIds = given.map(({ refersTo }) => refersTo.parentId);
  const bankIds = given.flatMap(({ refersTo }) => refersTo.bankIds);
  if ([...typeIds, ...parentIds, ...bankIds].every((id) => id === null)) {
    return given.map(({ account }) => account);
  }

  const source = await describeSource(db);
  const typeNameOf = await lookUp(db, source, "m_account_type", typeIds);
  const parents = await readParentIds(db, parentIds);
  const bankExternalIdOf = await lookUp(db, source, "m_bank", bankIds);

  return given.map(({ account, refersTo }) => ({
    ...account,
    typeName: account.typeName ?? typeNameOf(refersTo.typeId),
    parent:
      refersTo.parentId === null
        ? account.parent
        : { id: refersTo.parentId, externalId: parents.get(refersTo.parentId) ?? null },
    bankAccounts: account.bankAccounts.map((bankAccount, position) => ({
      ...bankAccount,
      bankExternalId:
        bankAccount.bankExternalId ?? bankExternalIdOf(refersTo.bankIds[position] ?? null),
    })),
  }));
}

async function readParentIds(
  db: Queryable,
  ids: readonly (string | null)[],
): Promise<ReadonlyMap<string, string | null>> {
  const wanted = new Set(ids.filter((id) => id !== null));
  if (wanted.size === 0) return new Map();

  const rows = await db.run<{ id: string; externalId: string | null }>("read_account_ids", [
    [...wanted],
  ]);
  return new Map(rows.map((row) => [row.id, row.externalId]));
}
