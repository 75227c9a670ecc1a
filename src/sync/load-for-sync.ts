/** The first verb: an account as it stands, and the send of before that is not settled, from one snapshot. */
import type { Account } from "../account/account.ts";
import { loadAccountsWith } from "../account/load.ts";
import type { Database } from "../db/database.ts";
import { loadUnsettledAttempts, type UnsettledAttempt } from "./journal.ts";

/** What is known about an account when its sync begins. */
export interface Loaded {
  /** null when there is no such row (any more). */
  readonly account: Account | null;
  /** A send of before that is not settled; finished before anything new goes out. */
  readonly unsettled: UnsettledAttempt | null;
  /** Why it was not read, with the figures and the limit; null when it was. `account` is null then, too. */
  readonly tooLarge: string | null;
}

/** Resolves with one entry per id, in order. */
export async function loadForSync(db: Database, ids: readonly string[]): Promise<Loaded[]> {
  const loaded = await loadAccountsWith(db, ids, {
    read: loadUnsettledAttempts,
    excess: ({ bodyBytes }, bytesMax) =>
      bodyBytes > bytesMax ? `a journaled command of ${bodyBytes} bytes` : null,
  });
  return loaded.map(({ account, companion, tooLarge }) => ({
    account,
    unsettled: companion,
    tooLarge,
  }));
}
