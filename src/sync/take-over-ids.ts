/**
 * Maps the ids that stand in the tables when the mapping is introduced (an upgrade, a first install beside an earlier system), as they are:
 * in chunks, without a send. Each is a short transaction, and one replica at a time does it.
 */
import type { Home } from "../account/mapped-ids.ts";
import type { Database } from "../db/database.ts";

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

    const accounts = await tx.run<{ accountId: string }>("take_over_ids", [
      begun.watermark,
      CHUNK_ACCOUNTS,
      byDefault.configId,
      byDefault.apiUrl,
    ]);
    const isLast = accounts.length < CHUNK_ACCOUNTS;
    await tx.run("advance_id_takeover", [isLast ? null : accounts.at(-1)?.accountId]);
    return isLast ? "done" : "more";
  });
}
