/**
 * Loads accounts from the source tables, with everything that is sent along with them. It is the first step of a sync.
 *
 * Always in a later statement than the claim: the claim's own snapshot may be older than the generation it returns, and a new generation
 * with old data is a lost update.
 */
import type { Database, Queryable } from "../db/database.ts";
import { isContention, isImpossibleValue, isNoRowsFault } from "../db/error-code.ts";
import type { Account } from "./account.ts";
import { type IdMapping, restoreIds } from "./mapped-ids.ts";
import { readAccounts } from "./read-accounts.ts";
import { readMappedIds } from "./read-mapped-ids.ts";
import { ACCOUNT_LIMITS, BATCH_LIMITS, createSizeCheck, type SizeLimits } from "./size-limits.ts";
import { describeWholeSource, hasSameTables, type Source } from "./source.ts";

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

/** What the source looked like at the last load. It is taken for granted, and found out, together with the rows, whether it still is so. */
export interface LastSource {
  source: Source | null;
}

/** `loadAccounts`, together with what the caller reads in the same snapshot. */
export async function loadAccountsWith<Extra>(
  db: Database,
  ids: readonly string[],
  extraRead: ExtraRead<Extra>,
  last: LastSource = { source: null },
): Promise<LoadedWithExtra<Extra>[]> {
  const loadWithin = (ids: readonly string[], limits: SizeLimits) =>
    loadPossible({ db, extraRead, limits, last }, ids);
  if (ids.length === 1) return await loadWithin(ids, ACCOUNT_LIMITS);

  const loaded = await loadWithin(ids, BATCH_LIMITS);
  const whole: LoadedWithExtra<Extra>[] = [];
  for (const [index, entry] of loaded.entries()) {
    const id = ids[index];
    if (entry.tooLarge === null || id === undefined) whole.push(entry);
    else whole.push(...(await loadWithin([id], ACCOUNT_LIMITS)));
  }
  return whole;
}

interface Load<Extra> {
  readonly db: Database;
  readonly extraRead: ExtraRead<Extra>;
  readonly limits: SizeLimits;
  readonly last: LastSource;
}

/**
 * An id that the key's type cannot hold fails the whole batch; alone it is an account that does not exist. Where the key can hold it, another
 * value is the impossible one (a view, a generated column), and nothing is known about the account.
 */
async function loadPossible<Extra>(
  load: Load<Extra>,
  ids: readonly string[],
): Promise<LoadedWithExtra<Extra>[]> {
  let failure: unknown;
  try {
    return await loadTogether(load, ids);
  } catch (error) {
    if (!isImpossibleValue(error)) throw error;
    failure = error;
  }

  const { db, extraRead } = load;
  if (ids.length > 1) {
    const half = Math.ceil(ids.length / 2);
    return [
      ...(await loadPossible(load, ids.slice(0, half))),
      ...(await loadPossible(load, ids.slice(half))),
    ];
  }
  if (await canBeKeys(db, ids)) throw failure;
  const extras = await extraRead.read(db, ids, ACCOUNT_LIMITS.bytes);
  const mapped = await readMappedIds(db, ids, []);
  return ids.map((id) => ({
    ...restoreIds(id, null, mapped, { hasBranchIds: false }),
    extra: extras.get(id) ?? null,
    tooLarge: null,
  }));
}

async function canBeKeys(db: Queryable, ids: readonly string[]): Promise<boolean> {
  try {
    await db.run("find_accounts", [ids]);
    return true;
  } catch (error) {
    if (!isImpossibleValue(error)) throw error;
    return false;
  }
}

/** An application that holds a table for long is contention; one that alters its tables again and again, too. */
const TRIES_MAX = 50;

async function loadTogether<Extra>(
  load: Load<Extra>,
  ids: readonly string[],
): Promise<LoadedWithExtra<Extra>[]> {
  const { db, last } = load;
  for (let tries = 1; ; tries += 1) {
    const known = last.source;
    const expected = known ?? (await describeWholeSource(db));
    try {
      const loaded = await db.snapshot(
        (tx) => loadInSnapshot(load, tx, ids, expected),
        expected.lockable,
      );
      if (loaded !== null) return loaded;
    } catch (error) {
      // A table or column that was there at the last load is gone. Another load may have found that out meanwhile.
      const isOutdated = known !== null && isNoRowsFault(error);
      if (isOutdated && last.source === known) last.source = null;
      if (tries === TRIES_MAX || !(isOutdated || isContention(error))) throw error;
    }
    if (tries === TRIES_MAX) throw new AlteredTables();
  }
}

class AlteredTables extends Error {
  override readonly name = "AlteredTables";
  /** PostgreSQL's lock_not_available: tried again later. */
  readonly code = "55P03";

  constructor() {
    super("the source tables were altered again and again while they were read");
  }
}

/** Resolves with null when there are other tables than expected. */
async function loadInSnapshot<Extra>(
  { extraRead, limits, last }: Load<Extra>,
  tx: Queryable,
  ids: readonly string[],
  expected: Source,
): Promise<LoadedWithExtra<Extra>[] | null> {
  const sizes = createSizeCheck(limits);
  // Asked for together: they come in one round trip. Described each time, since a table that appears while we run must not leave its rows
  // out of what is sent.
  const [extras, mapped, accounts, source] = await Promise.all([
    extraRead.read(tx, ids, limits.bytes),
    readMappedIds(tx, ids, ids),
    readAccounts(tx, expected, ids, sizes),
    describeWholeSource(tx),
  ]);
  last.source = source;
  if (!hasSameTables(source, expected)) return null;

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
