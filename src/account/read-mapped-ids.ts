/** Reads the id mapping of accounts, within the snapshot that their rows are read in. */
import type { Queryable } from "../db/database.ts";
import type { MappedRow } from "./mapped-ids.ts";

/**
 * Resolves with the mapped ids by account.
 *
 * @param childIds the accounts whose parents' ids are read, too
 */
export async function readMappedIds(
  tx: Queryable,
  ids: readonly string[],
  childIds: readonly string[],
): Promise<ReadonlyMap<string, readonly MappedRow[]>> {
  const rows = await tx.run<MappedRow & { readonly rowId: string }>("load_mapped_ids", [
    ids,
    childIds,
  ]);
  return Map.groupBy(
    rows.map(({ rowId, ...row }) => ({ ...row, id: rowId })),
    ({ accountId }) => accountId,
  );
}
