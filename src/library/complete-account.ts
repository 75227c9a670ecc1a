/** Completes a given account with what only the stored one knows. */
import type { Account, BankAccount, Parent, Pic, Tier } from "../account/account.ts";

/**
 * The account to send: the given data, with the external ids and the order of the stored rows. Stored tiers and contact persons that were
 * not given are not sent; they are added as inactive, so that an answer that lists their external ids is not matched to other rows.
 */
export function completedBy(stored: Account, given: Account): Account {
  const tiers = new Map(stored.tiers.map((tier) => [tier.id, tier]));
  const pics = new Map(stored.pics.map((pic) => [pic.id, pic]));
  const banks = new Map(stored.bankAccounts.map((bankAccount) => [bankAccount.id, bankAccount]));
  return {
    ...given,
    typeName: given.typeName ?? stored.typeName,
    externalId: stored.externalId,
    branchExternalId: stored.branchExternalId,
    parent: parentOf(given.parent, stored.parent),
    tiers: [
      ...given.tiers.map((tier): Tier => {
        const row = tiers.get(tier.id);
        return {
          ...tier,
          billingMethod: tier.billingMethod ?? row?.billingMethod ?? null,
          externalId: row?.externalId ?? null,
        };
      }),
      ...notAmong(stored.tiers, given.tiers),
    ],
    pics: [
      ...given.pics.map((pic): Pic => {
        const row = pics.get(pic.id);
        return {
          ...pic,
          createdAt: row?.createdAt ?? pic.createdAt,
          externalId: row?.externalId ?? null,
        };
      }),
      ...notAmong(stored.pics, given.pics),
    ],
    bankAccounts: given.bankAccounts.map((bankAccount): BankAccount => {
      const row = banks.get(bankAccount.id);
      return {
        ...bankAccount,
        bankExternalId: bankAccount.bankExternalId ?? row?.bankExternalId ?? null,
        createdAt: row?.createdAt ?? bankAccount.createdAt,
      };
    }),
  };
}

function parentOf(given: Parent | null, stored: Parent | null): Parent | null {
  if (given === null) return stored;
  if (given.externalId !== null || stored?.id !== given.id) return given;
  return stored;
}

function notAmong<Row extends { readonly id: string; readonly isActive: boolean }>(
  stored: readonly Row[],
  given: readonly { readonly id: string }[],
): Row[] {
  const ids = new Set(given.map(({ id }) => id));
  return stored.filter(({ id }) => !ids.has(id)).map((row) => ({ ...row, isActive: false }));
}
