/**
 * Maps the ids that stand in the tables when the mapping is introduced (an upgrade, a first install beside an earlier system), as they are:
 * in chunks, without a send. Each is a short transaction, and one replica at a time does it.
 */
import type { Home } from "../account/mapped-ids.ts";
import type { Database, Queryable } from "../db/database.ts";

/** Half a second where tiers are found by their account; where they are not, each chunk reads all of them, so few chunks are better. */
const CHUNK_ACCOUNTS = 10_000;

/** `elsewhere`: another replica is at it, which may die before it is done. */
export type Takeover = "more" | "done" | "elsewhere";

/** @param byDefault the default configuration, which accounts belong to that were never sent by us */
export async function takeOverIds(db: Database, byDefault: Home): Promise<Takeover> {
  return await db.transaction(async (tx) => {
    const [begun] = await tx.run<{ isDone: boolean; isOurs: boolean; watermark: string | null }>(
      "begin_id_takeover",
    );
    if (begun === undefined || begun.isDone) return "done";
    if (!begun.isOurs) return "elsewhere";

    const accounts = await tx.run<{ accountId: string }>("next_ids_to_take_over", [
      begun.watermark,
      CHUNK_ACCOUNTS,
    ]);
    await mapStanding(tx, accounts, byDefault, "shared ids too");
    const isLast = accounts.length < CHUNK_ACCOUNTS;
    await tx.run("advance_id_takeover", [isLast ? null : accounts.at(-1)?.accountId]);
    return isLast ? "done" : "more";
  });
}

/**
 * Maps ids that came into the rows later: written by hand, or by a daemon of a version that knows no mapping. Not one that another row has:
 * such an account is parked when it is synced.
 */
export async function takeOverLater(
  db: Queryable,
  accountIds: readonly string[],
  byDefault: Home,
): Promise<void> {
  const accounts = accountIds.map((accountId) => ({ accountId }));
  await mapStanding(db, accounts, byDefault, "own ids only");
}

async function mapStanding(
  db: Queryable,
  accounts: readonly { readonly accountId: string }[],
  { configId, apiUrl }: Home,
  which: "shared ids too" | "own ids only",
): Promise<void> {
  const ids = accounts.map(({ accountId }) => accountId);
  await db.run("take_over_ids", [ids, configId, apiUrl, which === "shared ids too"]);
}
