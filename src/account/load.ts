/**
 * The first verb: reads accounts as they stand, with everything that is sent along with them.
 *
 * Always by a later statement than the claim: the claim's own snapshot may be older than the generation it returns, and new
 * generation with old data is a lost update.
 */
import type { Database, Queryable } from "../db/database.ts";
import { isImpossibleValue } from "../db/database.ts";
import type { Account, Address, BankAccount, Pic, Tier } from "./account.ts";
import { describeSource } from "./source.ts";

export interface LoadedAccount {
  /** null when there is no such row (any more). */
  readonly account: Account | null;
  /** Why it was not read, with the figures and the limit; null when it was. `account` is null then, too. */
  readonly tooLarge: string | null;
}

/** What a caller reads in the snapshot of the accounts, so that the two agree: at most one item per account. */
export interface Companion<Item> {
  read(tx: Queryable, ids: readonly string[], bytesMax: number): Promise<ReadonlyMap<string, Item>>;
  /** What of it is larger than this, with the figure; null when nothing is. */
  excess(item: Item, bytesMax: number): string | null;
}

export type Accompanied<Item> = LoadedAccount & { readonly companion: Item | null };

/** Of one account, and of its rows in one table. */
interface SizeLimits {
  readonly rows: number;
  readonly bytes: number;
}

/** Nobody has so many tiers or contact persons; who does could not be sent in one command, nor written back in one transaction. */
const ACCOUNT_ROWS_MAX = 2_000;
const ACCOUNT_BYTES_MAX = 1024 * 1024;
const ACCOUNT_LIMITS: SizeLimits = { rows: ACCOUNT_ROWS_MAX, bytes: ACCOUNT_BYTES_MAX };

/** Of each account in a batch: a larger one is read by itself, so that 64 large ones are never in memory at once. */
const BATCH_ROWS_MAX = 100;
const BATCH_BYTES_EACH_MAX = 64 * 1024;
const BATCH_LIMITS: SizeLimits = { rows: BATCH_ROWS_MAX, bytes: BATCH_BYTES_EACH_MAX };

/** Resolves with one entry per id, in order. All rows of an account come from one snapshot. */
export async function loadAccounts(
  db: Database,
  ids: readonly string[],
): Promise<readonly LoadedAccount[]> {
  return await loadAccountsWith(db, ids, NO_COMPANION);
}

const NO_COMPANION: Companion<never> = {
  read: async () => new Map<string, never>(),
  excess: () => null,
};

/** The same, with what the caller reads in the same snapshot. */
export async function loadAccountsWith<Item>(
  db: Database,
  ids: readonly string[],
  companion: Companion<Item>,
): Promise<Accompanied<Item>[]> {
  if (ids.length === 1) return await loadWithin(db, ids, companion, ACCOUNT_LIMITS);

  const loaded = await loadWithin(db, ids, companion, BATCH_LIMITS);
  const whole: Accompanied<Item>[] = [];
  for (const [index, entry] of loaded.entries()) {
    const id = ids[index];
    if (entry.tooLarge === null || id === undefined) whole.push(entry);
    else whole.push(...(await loadWithin(db, [id], companion, ACCOUNT_LIMITS)));
  }
  return whole;
}

async function loadWithin<Item>(
  db: Database,
  ids: readonly string[],
  companion: Companion<Item>,
  limits: SizeLimits,
): Promise<Accompanied<Item>[]> {
  try {
    return await db.transaction(
      (tx) => loadAll(tx, ids, companion, limits),
      "repeatable read, read only",
    );
  } catch (error) {
    if (!isImpossibleValue(error)) throw error;
    // One id that the key's type cannot hold fails the whole batch; alone it is simply an account that does not exist.
    if (ids.length > 1) {
      const half = Math.ceil(ids.length / 2);
      return [
        ...(await loadWithin(db, ids.slice(0, half), companion, limits)),
        ...(await loadWithin(db, ids.slice(half), companion, limits)),
      ];
    }
    const items = await companion.read(db, ids, ACCOUNT_LIMITS.bytes);
    return ids.map((id) => ({
      account: null,
      companion: items.get(id) ?? null,
      tooLarge: null,
    }));
  }
}

async function loadAll<Item>(
  tx: Queryable,
  ids: readonly string[],
  companion: Companion<Item>,
  limits: SizeLimits,
): Promise<Accompanied<Item>[]> {
  // Asked each time: a table that comes or goes while we run must not leave its rows out of what is sent.
  const source = await describeSource(tx);
  if (source.vanished.length > 0) throw new VanishedTables(source.vanished);
  const ifTable = <Row>(
    table: string,
    query: string,
    params: readonly unknown[],
  ): Promise<Row[]> => (source.has(table) ? tx.run<Row>(query, params) : Promise.resolve([]));
  const excess = createExcess(limits);
  const childrenOf = async <Row extends { readonly id: string }>(
    table: string,
    query: string,
  ): Promise<(Row & Owned)[]> =>
    excess.takeOut(
      table,
      await ifTable<Measured<Row>>(table, query, [ids, limits.rows, limits.bytes]),
    );

  const items = await companion.read(tx, ids, limits.bytes);
  const accounts = excess.takeOut<AccountRow>(
    "m_account",
    await tx.run<Measured<AccountRow>>("load_accounts", [ids, limits.bytes]),
  );
  const tiers = await childrenOf<TierRow>("m_account_package_tier", "load_tiers");
  const pics = await childrenOf<Pic>("m_account_pic", "load_pics");
  const addresses = await childrenOf<Address>("m_account_address", "load_addresses");
  const bankAccounts = await childrenOf<BankAccountRow>("m_account_bank", "load_bank_accounts");
  for (const [id, item] of items) {
    const tooMuch = companion.excess(item, limits.bytes);
    if (tooMuch !== null) excess.note(id, tooMuch);
  }

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
  return ids.map((id) => {
    const tooLarge = excess.of(id);
    return {
      account: tooLarge === null ? (found.get(id) ?? null) : null,
      companion: items.get(id) ?? null,
      tooLarge,
    };
  });
}

/** Of an account that is too large for the limits a query gives one row without an id, with the figures. */
type Measured<Row> = Owned & {
  readonly ownerRows: number;
  readonly ownerBytes: number;
} & (Row | { readonly id: null });

/** Collects what is too large, while the rows go by. */
function createExcess(limits: SizeLimits) {
  const found = new Map<string, string[]>();
  const note = (accountId: string, what: string) => {
    found.set(accountId, [...(found.get(accountId) ?? []), what]);
  };

  return {
    note,

    /** The rows that were loaded. */
    takeOut<Row extends { readonly id: string }>(
      table: string,
      rows: readonly Measured<Row>[],
    ): (Row & Owned)[] {
      for (const { id, accountId, ownerRows, ownerBytes } of rows)
        if (id === null)
          note(
            accountId,
            `${ownerRows} ${ownerRows === 1 ? "row" : "rows"} of ${table} with ${ownerBytes} bytes`,
          );
      return rows.filter((row): row is Measured<Row> & Row => row.id !== null);
    },

    of(accountId: string): string | null {
      const what = found.get(accountId);
      return what === undefined
        ? null
        : `The account is too large to be sent: ${what.join(", ")}; at most ${limits.rows} rows and ${limits.bytes} bytes of each table are read`;
    },
  };
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

function valueAt(values: ReadonlyMap<string, string | null>, key: string | null): string | null {
  return key === null ? null : (values.get(key) ?? null);
}

/** numeric(15,2) has at most 15 digits, which a double holds exactly. */
function toNumber(numeric: string | null): number | null {
  return numeric === null ? null : Number(numeric);
}
