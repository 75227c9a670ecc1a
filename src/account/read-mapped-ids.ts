/** Reads the id mapping of accounts, within the snapshot that their rows are read in. */
import type { Queryable } from "../db/database.ts";
import type { Account } from "./account.ts";
import type { MappedRow } from "./mapped-ids.ts";

/** Resolves with the mapped ids by account, those of parents included. */
export async function readMappedIds(
  tx: Queryable,
  ids: readonly string[],
  accounts: Iterable<Account>,
): Promise<ReadonlyMap<string, readonly MappedRow[]>> {
  const parents = [...accounts].flatMap(({ parent }) => (parent === null ? [] : [parent.id]));
  const rows = await tx.run<MappedRow & { readonly rowId: string }>("load_mapped_ids", [
    [...new Set([...ids, ...parents])],
  ]);
  return Map.groupBy(
    rows.map(({ rowId, ...row }) => ({ ...row, id: rowId })),
    ({ accountId }) => accountId,
  );
}
