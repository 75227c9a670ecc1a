/** Completes a given account with what only the stored one knows. */
import type { Account, BankAccount, Parent, Pic, Tier } from "../account/account.ts";
import { isSameId, toComparableId } from "../same-id.ts";

/**
 * The account to send: the given data, with the external ids and the order of the stored rows. Stored tiers and contact persons that were
 * not given are not sent; they are added as inactive, so that an answer that lists their external ids is not matched to other rows.
 */
export function completedBy(stored: Account, given: Account): Account {
  const tierOf = rowsById(stored.tiers);
  const picOf = rowsById(stored.pics);
  const bankOf = rowsById(stored.bankAccounts);
  return {
    ...given,
    typeName: given.typeName ?? stored.typeName,
    externalId: stored.externalId,
    branchExternalId: stored.branchExternalId,
    parent: parentOf(given.parent, stored.parent),
    tiers: [
      ...given.tiers.map((tier): Tier => {
        const row = tierOf(tier.id);
        return {
          ...tier,
          id: row?.id ?? tier.id,
          billingMethod: tier.billingMethod ?? row?.billingMethod ?? null,
          externalId: row?.externalId ?? null,
        };
      }),
      ...notAmong(stored.tiers, given.tiers),
    ],
    pics: [
      ...given.pics.map((pic): Pic => {
        const row = picOf(pic.id);
        return {
          ...pic,
          id: row?.id ?? pic.id,
          createdAt: row?.createdAt ?? pic.createdAt,
          externalId: row?.externalId ?? null,
        };
      }),
      ...notAmong(stored.pics, given.pics),
    ],
    bankAccounts: given.bankAccounts.map((bankAccount): BankAccount => {
      const row = bankOf(bankAccount.id);
      return {
        ...bankAccount,
        bankExternalId: bankAccount.bankExternalId ?? row?.bankExternalId ?? null,
        createdAt: row?.createdAt ?? bankAccount.createdAt,
      };
    }),
  };
}

/** The rows have their ids as the database writes them; a caller may have a GUID in another letter case. */
function rowsById<Row extends { readonly id: string }>(
  rows: readonly Row[],
): (id: string) => Row | undefined {
  const byId = new Map(rows.map((row) => [toComparableId(row.id), row]));
  return (id) => byId.get(toComparableId(id));
}

function parentOf(given: Parent | null, stored: Parent | null): Parent | null {
  if (given === null) return stored;
  if (given.externalId !== null || stored === null || !isSameId(stored.id, given.id)) return given;
  return stored;
}

function notAmong<Row extends { readonly id: string; readonly isActive: boolean }>(
  stored: readonly Row[],
  given: readonly { readonly id: string }[],
): Row[] {
  const isGiven = rowsById(given);
  return stored
    .filter(({ id }) => isGiven(id) === undefined)
    .map((row) => ({ ...row, isActive: false }));
}
