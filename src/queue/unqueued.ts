/** Counts the accounts that the queue does not know, for a person who waits for the answer. */
import type { Database } from "../db/database.ts";
import { errorCode } from "../db/error-code.ts";

/** Among a million accounts the one that is missing takes a second to find. */
const WITHIN_MS = 2_000;
/** query_canceled */
const TOOK_TOO_LONG = "57014";

/**
 * Accounts from before the first migrate, as far as that can be told quickly: counted up to `most`; null when it takes too long, or while a
 * request for many accounts is being taken in, which may be about them.
 */
export async function countSomeUnqueued(
  db: Pick<Database, "transaction">,
  most: number,
): Promise<number | null> {
  try {
    return await db.transaction(async (tx) => {
      await tx.run("limit_statements", [WITHIN_MS]);
      const [row] = await tx.run<{ count: number | null }>("count_some_unqueued", [most]);
      return row?.count ?? null;
    });
  } catch (error) {
    if (errorCode(error) === TOOK_TOO_LONG) return null;
    throw error;
  }
}
