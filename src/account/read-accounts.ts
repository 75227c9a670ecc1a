/** Reads the rows of accounts from the source tables, one small query per table, and puts the accounts together. */
import type { Queryable } from "../db/database.ts";
import type { Account, Address, BankAccount, Pic, Tier } from "./account.ts";
import { lookUp } from "./look-up.ts";
import type { Measured, Owned, SizeCheck } from "./size-limits.ts";
import type { Source } from "./source.ts";

/**
 * Resolves with the accounts that exist, by id. One that `sizes` finds too large may be among them, without the rows that were not read.
 * The caller provides the transaction: all rows have to come from one snapshot.
 */
export async function readAccounts(
  tx: Queryable,
  source: Source,
  ids: readonly string[],
  sizes: SizeCheck,
): Promise<ReadonlyMap<string, Account>> {
  const { limits } = sizes;
  const readChildren = async <Row extends { readonly id: string }>(table: string, query: string) =>
    source.has(table)
      ? sizes.accept<Row>(
          table,
          await tx.run<Measured<Row>>(query, [ids, limits.rows, limits.bytes]),
        )
      : [];

  const accounts = sizes.accept<AccountRow>(
    "m_account",
    await tx.run<Measured<AccountRow>>("load_accounts", [ids, limits.bytes]),
  );
  const tiers = await readChildren<TierRow>("m_account_package_tier", "load_tiers");
  const pics = await readChildren<Pic>("m_account_pic", "load_pics");
  const addresses = await readChildren<Address>("m_account_address", "load_addresses");
  const bankAccounts = await readChildren<BankAccountRow>("m_account_bank", "load_bank_accounts");

  const typeIds = accounts.map((row) => row.typeId);
  const typeNameOf = await lookUp(tx, source, "m_account_type", typeIds);
  const methodIds = tiers.map((row) => row.billingMethodId);
  const billingMethodOf = await lookUp(tx, source, "m_account_billing_method", methodIds);
  const bankIds = bankAccounts.map((row) => row.bankId);
  const bankExternalIdOf = await lookUp(tx, source, "m_bank", bankIds);

  const tiersByOwner = Map.groupBy(tiers, ownerOf);
  const picsByOwner = Map.groupBy(pics, ownerOf);
  const addressesByOwner = Map.groupBy(addresses, ownerOf);
  const bankAccountsByOwner = Map.groupBy(bankAccounts, ownerOf);
  return new Map(
    accounts.map((row): [string, Account] => [
      row.id,
      {
        ...row,
        typeName: typeNameOf(row.typeId),
        parent:
          row.parentId === null ? null : { id: row.parentId, externalId: row.parentExternalId },
        tiers: (tiersByOwner.get(row.id) ?? []).map((tier) => ({
          ...tier,
          minValue: toNumber(tier.minValue),
          maxValue: toNumber(tier.maxValue),
          amount: toNumber(tier.amount),
          billingMethod: billingMethodOf(tier.billingMethodId),
        })),
        pics: picsByOwner.get(row.id) ?? [],
        addresses: addressesByOwner.get(row.id) ?? [],
        bankAccounts: (bankAccountsByOwner.get(row.id) ?? []).map((bankAccount) => ({
          ...bankAccount,
          bankExternalId: bankExternalIdOf(bankAccount.bankId),
        })),
      },
    ]),
  );
}

interface AccountRow
  extends Omit<Account, "typeName" | "parent" | "tiers" | "pics" | "addresses" | "bankAccounts"> {
  readonly typeId: string | null;
  readonly parentId: string | null;
  readonly parentExternalId: string | null;
}

interface TierRow extends Omit<Tier, "minValue" | "maxValue" | "amount" | "billingMethod"> {
  readonly minValue: string | null;
  readonly maxValue: string | null;
  readonly amount: string | null;
  readonly billingMethodId: string | null;
}

interface BankAccountRow extends Omit<BankAccount, "bankExternalId"> {
  readonly bankId: string | null;
}

function ownerOf(row: Owned): string {
  return row.accountId;
}

/** numeric(15,2) has at most 15 digits, which a double holds exactly. */
function toNumber(numeric: string | null): number | null {
  return numeric === null ? null : Number(numeric);
}
