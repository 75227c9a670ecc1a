/**
 * The first verb: reads accounts as they stand, with everything that is sent along with them.
 *
 * Always by a later statement than the claim: the claim's own snapshot may be older than the generation it returns, and new
 * generation with old data is a lost update.
 */
import type { Database, Queryable } from "../db/database.ts";
import { isImpossibleValue } from "../db/database.ts";
import type { Account, Address, BankAccount, Pic, Tier } from "./account.ts";
import { loadUnsettledAttempts, type UnsettledAttempt } from "./attempt.ts";
import { describeSource } from "./source.ts";

/** What is known about an account when its sync begins. */
export interface Loaded {
  /** null when there is no such row (any more). */
  readonly account: Account | null;
  /** A send of before that is not settled; finished before anything new goes out. */
  readonly unsettled: UnsettledAttempt | null;
}

/** Resolves with one entry per id, in order. All rows come from one snapshot. */
export async function loadAccounts(db: Database, ids: readonly string[]): Promise<Loaded[]> {
  try {
    return await db.transaction((tx) => loadAll(tx, ids), "repeatable read, read only");
  } catch (error) {
    if (!isImpossibleValue(error)) throw error;
    // One id that the key's type cannot hold fails the whole batch; alone it is simply an account that does not exist.
    if (ids.length > 1) {
      const half = Math.ceil(ids.length / 2);
      return [
        ...(await loadAccounts(db, ids.slice(0, half))),
        ...(await loadAccounts(db, ids.slice(half))),
      ];
    }
    const unsettled = await loadUnsettledAttempts(db, ids);
    return ids.map((id) => ({ account: null, unsettled: unsettled.get(id) ?? null }));
  }
}

async function loadAll(tx: Queryable, ids: readonly string[]): Promise<Loaded[]> {
  // Asked each time: a table that comes or goes while we run must not leave its rows out of what is sent.
  const source = await describeSource(tx);
  if (source.vanished.length > 0) throw new VanishedTables(source.vanished);
  const ifTable = <Row>(
    table: string,
    query: string,
    params: readonly unknown[],
  ): Promise<Row[]> => (source.has(table) ? tx.run<Row>(query, params) : Promise.resolve([]));

  const unsettled = await loadUnsettledAttempts(tx, ids);
  const accounts = await tx.run<AccountRow>("load_accounts", [ids]);
  const tiers = await tx.run<TierRow>("load_tiers", [ids]);
  const pics = await tx.run<Pic & Owned>("load_pics", [ids]);
  const addresses = await ifTable<Address & Owned>("m_account_address", "load_addresses", [ids]);
  const bankAccounts = await ifTable<BankAccountRow>("m_account_bank", "load_bank_accounts", [ids]);

  const lookUp = async (table: string, query: string, keys: readonly (string | null)[]) => {
    const wanted = [...new Set(keys.filter((key) => key !== null))];
    if (wanted.length === 0) return new Map<string, string | null>();
    const rows = await ifTable<{ id: string; value: string | null }>(table, query, [wanted]);
    return new Map(rows.map((row) => [row.id, row.value]));
  };
  const typeNames = await lookUp(
    "m_account_type",
    "load_account_types",
    accounts.map((row) => row.typeId),
  );
  const methods = await lookUp(
    "m_account_billing_method",
    "load_billing_methods",
    tiers.map((row) => row.billingMethodId),
  );
  const banks = await lookUp(
    "m_bank",
    "load_banks",
    bankAccounts.map((row) => row.bankId),
  );

  const tiersOf = Map.groupBy(tiers, ownerOf);
  const picsOf = Map.groupBy(pics, ownerOf);
  const addressesOf = Map.groupBy(addresses, ownerOf);
  const bankAccountsOf = Map.groupBy(bankAccounts, ownerOf);
  const found = new Map(
    accounts.map((row): [string, Account] => [
      row.id,
      {
        ...row,
        typeName: valueAt(typeNames, row.typeId),
        parent:
          row.parentId === null ? null : { id: row.parentId, externalId: row.parentExternalId },
        tiers: (tiersOf.get(row.id) ?? []).map((tier) => ({
          ...tier,
          minValue: toNumber(tier.minValue),
          maxValue: toNumber(tier.maxValue),
          amount: toNumber(tier.amount),
          billingMethod: valueAt(methods, tier.billingMethodId),
        })),
        pics: picsOf.get(row.id) ?? [],
        addresses: addressesOf.get(row.id) ?? [],
        bankAccounts: (bankAccountsOf.get(row.id) ?? []).map((bankAccount) => ({
          ...bankAccount,
          bankExternalId: valueAt(banks, bankAccount.bankId),
        })),
      },
    ]),
  );
  return ids.map((id) => ({
    account: found.get(id) ?? null,
    unsettled: unsettled.get(id) ?? null,
  }));
}

/** Nothing is sent while a captured table is away: without its rows an account would look as if they had been removed. */
class VanishedTables extends Error {
  override readonly name = "VanishedTables";
  /** PostgreSQL's undefined_table: uses up no attempt, and is tried again. */
  readonly code = "42P01";

  constructor(tables: readonly string[]) {
    super(
      `${tables.map((table) => `public.${table}`).join(", ")} was captured and is gone: bring it back, or, if it was removed for good, say so: ${tables.map((table) => `select account_sync.remove_capture('${table}');`).join(" ")}`,
    );
  }
}

interface Owned {
  readonly accountId: string;
}

interface AccountRow
  extends Omit<Account, "typeName" | "parent" | "tiers" | "pics" | "addresses" | "bankAccounts"> {
  readonly typeId: string | null;
  readonly parentId: string | null;
  readonly parentExternalId: string | null;
}

interface TierRow extends Omit<Tier, "minValue" | "maxValue" | "amount" | "billingMethod">, Owned {
  readonly minValue: string | null;
  readonly maxValue: string | null;
  readonly amount: string | null;
  readonly billingMethodId: string | null;
}

interface BankAccountRow extends Omit<BankAccount, "bankExternalId">, Owned {
  readonly bankId: string | null;
}

function ownerOf(row: Owned): string {
  return row.accountId;
}

function valueAt(values: ReadonlyMap<string, string | null>, key: string | null): string | null {
  return key === null ? null : (values.get(key) ?? null);
}

/** numeric(15,2) has at most 15 digits, which a double holds exactly. */
function toNumber(numeric: string | null): number | null {
  return numeric === null ? null : Number(numeric);
}
