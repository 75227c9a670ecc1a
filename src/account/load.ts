/**
 * Loads accounts from the source tables, with everything that is sent along with them. It is the first step of a sync.
 *
 * Always in a later statement than the claim: the claim's own snapshot may be older than the generation it returns, and a new generation
 * with old data is a lost update.
 */
import type { Database, Queryable } from "../db/database.ts";
import { isImpossibleValue } from "../db/error-code.ts";
import type { Account } from "./account.ts";
import { type IdMapping, restoreIds } from "./mapped-ids.ts";
import { readAccounts } from "./read-accounts.ts";
import { readMappedIds } from "./read-mapped-ids.ts";
import { ACCOUNT_LIMITS, BATCH_LIMITS, createSizeCheck, type SizeLimits } from "./size-limits.ts";
import { describeWholeSource } from "./source.ts";

export interface LoadedAccount {
  /** With the ids that its rows have lost and the id mapping knows. null when there is no such row (any more). */
  readonly account: Account | null;
  readonly mapping: IdMapping;
  /** Why it was not read, with the figures and the limit; null when it was. `account` is null then, too. */
  readonly tooLarge: string | null;
}

/** Resolves with one entry per id, in order. All rows of an account come from one snapshot. */
export async function loadAccounts(
  db: Database,
  ids: readonly string[],
): Promise<readonly LoadedAccount[]> {
  return await loadAccountsWith(db, ids, NOTHING_ELSE);
}

/** Something else that the caller reads of each account, in the snapshot of the account: at most one item per account. */
export interface ExtraRead<Extra> {
  read(
    tx: Queryable,
    ids: readonly string[],
    bytesMax: number,
  ): Promise<ReadonlyMap<string, Extra>>;
  /** What is larger than the limit, with the figure; null when nothing is. */
  excess(extra: Extra, bytesMax: number): string | null;
}

export type LoadedWithExtra<Extra> = LoadedAccount & { readonly extra: Extra | null };

const NOTHING_ELSE: ExtraRead<never> = {
  read: async () => new Map<string, never>(),
  excess: () => null,
};

/** `loadAccounts`, together with what the caller reads in the same snapshot. */
export async function loadAccountsWith<Extra>(
  db: Database,
  ids: readonly string[],
  extraRead: ExtraRead<Extra>,
): Promise<LoadedWithExtra<Extra>[]> {
  if (ids.length === 1) return await loadWithin(db, ids, extraRead, ACCOUNT_LIMITS);

  const loaded = await loadWithin(db, ids, extraRead, BATCH_LIMITS);
  const whole: LoadedWithExtra<Extra>[] = [];
  for (const [index, entry] of loaded.entries()) {
    const id = ids[index];
    if (entry.tooLarge === null || id === undefined) whole.push(entry);
    else whole.push(...(await loadWithin(db, [id], extraRead, ACCOUNT_LIMITS)));
  }
  return whole;
}

async function loadWithin<Extra>(
  db: Database,
  ids: readonly string[],
  extraRead: ExtraRead<Extra>,
  limits: SizeLimits,
): Promise<LoadedWithExtra<Extra>[]> {
  try {
    return await db.transaction(
      (tx) => loadInSnapshot(tx, ids, extraRead, limits),
      "repeatable read, read only",
    );
  } catch (error) {
    if (!isImpossibleValue(error)) throw error;
  }

  // One id that the key's type cannot hold fails the whole batch; alone it is an account that does not exist.
  if (ids.length > 1) {
    const half = Math.ceil(ids.length / 2);
    return [
      ...(await loadWithin(db, ids.slice(0, half), extraRead, limits)),
      ...(await loadWithin(db, ids.slice(half), extraRead, limits)),
    ];
  }
  const extras = await extraRead.read(db, ids, ACCOUNT_LIMITS.bytes);
  const mapped = await readMappedIds(db, ids, []);
  return ids.map((id) => ({
    ...restoreIds(id, null, mapped, { hasBranchIds: false }),
    extra: extras.get(id) ?? null,
    tooLarge: null,
  }));
}

async function loadInSnapshot<Extra>(
  tx: Queryable,
  ids: readonly string[],
  extraRead: ExtraRead<Extra>,
  limits: SizeLimits,
): Promise<LoadedWithExtra<Extra>[]> {
  // Described each time: a table that appears or vanishes while we run must not leave its rows out of what is sent.
  const source = await describeWholeSource(tx);
  const sizes = createSizeCheck(limits);

  const extras = await extraRead.read(tx, ids, limits.bytes);
  const accounts = await readAccounts(tx, source, ids, sizes);
  const mapped = await readMappedIds(tx, ids, accounts.values());
  for (const [id, extra] of extras) {
    const excess = extraRead.excess(extra, limits.bytes);
    if (excess !== null) sizes.reject(id, excess);
  }

  return ids.map((id) => {
    const tooLarge = sizes.problemOf(id);
    return {
      ...restoreIds(id, tooLarge === null ? (accounts.get(id) ?? null) : null, mapped, source),
      extra: extras.get(id) ?? null,
      tooLarge,
    };
  });
}
