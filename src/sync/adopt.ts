/** Takes the id of a customer that exists at the API for an account of ours, unless another account has it. */
import type { Home } from "../account/mapped-ids.ts";
import type { SentRows } from "../customer-command/command.ts";
import type { ReceivedIds } from "../customer-command/match-ids.ts";
import type { Database, Queryable } from "../db/database.ts";
import type { Claim, Queue } from "../queue/queue.ts";
import { toMappedRows, writeMappedIds } from "./map-ids.ts";

export interface OwnedId {
  readonly externalId: string;
  readonly accountId: string;
  /** The configuration that gave it out; null for the one of the environment. */
  readonly configId: string | null;
}

/**
 * The other account that has each external id, or is about to get it; null where there is none.
 *
 * @param among `mapped`: quick, and blind to an id that an operator has written to a row that was not synced since
 */
export async function findIdOwners(
  db: Queryable,
  owned: readonly OwnedId[],
  among: "mapped" | "rows too",
): Promise<(string | null)[]> {
  return await findOwners(db, "find_id_owners", owned, [among === "rows too"]);
}

/** The other account that each external id is mapped to; null where there is none. */
export async function findMappedOwners(
  db: Queryable,
  owned: readonly OwnedId[],
): Promise<(string | null)[]> {
  return await findOwners(db, "find_mapped_owners", owned, []);
}

async function findOwners(
  db: Queryable,
  query: string,
  owned: readonly OwnedId[],
  further: readonly boolean[],
): Promise<(string | null)[]> {
  const found = await db.run<{ of: string; accountId: string }>(query, [
    owned.map(({ externalId }) => externalId),
    owned.map(({ accountId }) => accountId),
    owned.map(({ configId }) => configId),
    ...further,
  ]);
  const ownerOf = new Map(found.map((row) => [row.of, row.accountId]));
  return owned.map(({ accountId }) => ownerOf.get(accountId) ?? null);
}

/** A customer that a lookup found. */
export interface Adoption {
  readonly claim: Claim;
  readonly sent: SentRows;
  readonly received: ReceivedIds;
  readonly home: Home;
}

/**
 * Maps what was found to the account, unless another account of ours has that customer's id or is about to get it. The lock makes those
 * take turns that found the same customer at the same time. The next sync finds the account with an id, and updates.
 *
 * Resolves null when the lease was lost: the lookup may have taken long, and another worker may know better by now.
 */
export async function adoptCustomer(
  db: Database,
  queue: Pick<Queue, "lockLeases">,
  { claim, sent, received, home }: Adoption,
): Promise<{ takenBy: string | null } | null> {
  const { accountId } = sent;
  const externalId = received.customer ?? "";
  return await db.transaction(async (tx) => {
    if (!(await queue.lockLeases(tx, [claim])).has(accountId)) return null;
    await tx.run("lock_external_id", [externalId]);
    const wanted = { externalId, accountId, configId: home.configId };
    const [takenBy = null] = await findIdOwners(tx, [wanted], "mapped");
    if (takenBy !== null) return { takenBy };

    await writeMappedIds(tx, toMappedRows(sent, received, home));
    return { takenBy: null };
  });
}
