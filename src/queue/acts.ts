/**
 * What a person decides over accounts that wait (sql/migrations/12_decide_over_unfinished_sends.sql): a part of the queue. What the
 * database refuses with a sentence of its own is a Refusal (src/db/raised.ts).
 */
import type { Database } from "../db/database.ts";
import type { ErrorClass } from "../sync/outcome.ts";

export function createActs(db: Database) {
  return {
    /**
     * Puts parked accounts back. With `discard` their unfinished sends are given up, also those of accounts that retry. Resolves with the
     * ids of those that were put back.
     */
    async retry(which: {
      /** In any form; null for all. */
      readonly ids: readonly string[] | null;
      readonly errorClass: ErrorClass | null;
      readonly discard?: boolean;
    }): Promise<readonly string[]> {
      const retried = await db.run<{ accountId: string }>("retry_accounts", [
        which.ids === null ? null : await canonicalIds(db, which.ids),
        which.errorClass,
        which.discard ?? false,
      ]);
      if (retried.length > 0) await db.run("ring");
      return retried.map(({ accountId }) => accountId);
    },

    /** The customer exists at the API: takes its id for the account, and asks for an update. Rejects when another account has it. */
    async adopt(accountId: string, externalId: string): Promise<void> {
      await db.run("adopt_customer", [accountId, externalId]);
    },

    /**
     * Forgets the ids that the API gave out for an account, or for one of its rows, so that the next sync makes them anew. Resolves with
     * how many they were.
     */
    async forgetIds(
      accountId: string,
      { tierId = null, picId = null }: { tierId?: string | null; picId?: string | null } = {},
    ): Promise<number> {
      const [row] = await db.run<{ forgotten: number }>("forget_ids", [accountId, tierId, picId]);
      return row?.forgotten ?? 0;
    },
  };
}

async function canonicalIds(db: Database, ids: readonly string[]): Promise<string[]> {
  const rows = await db.run<{ accountId: string }>("canonical_ids", [ids]);
  return rows.map(({ accountId }) => accountId);
}
