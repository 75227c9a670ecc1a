/** Reads the rows of accounts from the source tables, one small query per table, and puts the accounts together. */
import type { Queryable } from "../db/database.ts";
import type { Account, Address, BankAccount, Pic, Tier } from "./account.ts";
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
  const readRows = async <Row extends { readonly id: string }>(table: string, query: string) =>
    source.has(table)
      ? sizes.accept<Row>(
          table,
          await tx.run<Measured<Row>>(query, [ids, limits.rows, limits.bytes]),
        )
      : [];

  const readValues = async (table: string, query: string) => {
    const rows = source.has(table) ? await tx.run<Value>(query, [ids]) : [];
    const values = new Map(rows.map(({ id, value }) => [id, value]));
    return (id: string | null) => (id === null ? null : (values.get(id) ?? null));
  };

  const [accounts, tiers, pics, addresses, bankAccounts, typeNameOf, billingMethodOf, bankIdOf] =
    await Promise.all([
      readRows<AccountRow>("m_account", "load_accounts"),
      readRows<TierRow>("m_account_package_tier", "load_tiers"),
      readRows<Pic>("m_account_pic", "load_pics"),
      readRows<Address>("m_account_address", "load_addresses"),
      readRows<BankAccountRow>("m_account_bank", "load_bank_accounts"),
      readValues("m_account_type", "load_account_types"),
      readValues("m_account_billing_method", "load_billing_methods"),
      source.has("m_account_bank") ? readValues("m_bank", "load_banks") : () => null,
    ]);

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
          bankExternalId: bankIdOf(bankAccount.bankId),
        })),
      },
    ]),
  );
}

/** What a row that accounts refer to is wanted for: its name, its external id. */
interface Value {
  readonly id: string;
  readonly value: string | null;
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
