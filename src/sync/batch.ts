/** What goes into one statement of a sync. */
import { batched, type Gathering } from "../db/batched.ts";

/** One transaction loads, journals or settles at most so many accounts. */
const BATCH_MAX = 128;

export function batchedAccounts<Item, Result>(
  run: (items: readonly Item[]) => Promise<readonly (Result | Error)[]>,
  bytesOf?: (item: Item) => number,
  gathering?: Gathering,
): (item: Item) => Promise<Result> {
  return batched(BATCH_MAX, run, bytesOf, gathering);
}

/** A row's own id and its external one, which has at most 255 characters. */
const ID_BYTES_MAX = 1_000;

export function bytesOfIds(rows: {
  readonly tiers: readonly unknown[];
  readonly pics: readonly unknown[];
}): number {
  return (rows.tiers.length + rows.pics.length) * ID_BYTES_MAX;
}
