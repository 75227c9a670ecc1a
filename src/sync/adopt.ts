/** Takes the id of a customer that exists at the API for an account of ours, unless another account has it. */
import type { Database, Queryable } from "../db/database.ts";
import { type Answered, journalAnswers } from "./journal.ts";

/** The other account that has each external id; null where there is none. */
export async function findIdOwners(
  db: Queryable,
  owned: readonly { readonly externalId: string; readonly accountId: string }[],
): Promise<(string | null)[]> {
  const found = await db.run<{ of: string; accountId: string }>("find_id_owners", [
    owned.map(({ externalId }) => externalId),
    owned.map(({ accountId }) => accountId),
  ]);
  const ownerOf = new Map(found.map((row) => [row.of, row.accountId]));
  return owned.map(({ accountId }) => ownerOf.get(accountId) ?? null);
}

/** What a lookup found, as the answer to a create. */
export interface Adoption extends Answered {
  readonly accountId: string;
}

/**
 * Writes down what was found, unless another account of ours has that customer's id or is about to get it. The lock makes those take
 * turns that found the same customer at the same time.
 */
export async function journalAdoption(
  db: Database,
  adoption: Adoption,
): Promise<{ takenBy: string | null }> {
  const { customer } = adoption.received;
  return await db.transaction(async (tx) => {
    await tx.run("lock_external_id", [customer]);
    const [takenBy = null] = await findIdOwners(tx, [
      { externalId: customer ?? "", accountId: adoption.accountId },
    ]);
    if (takenBy !== null) return { takenBy };

    await journalAnswers(tx, [adoption]);
    return { takenBy: null };
  });
}
