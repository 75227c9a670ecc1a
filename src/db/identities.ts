/**
 * Ids that a sequence gives out twice: logical replication, and a restore of rows without sequences, leave a sequence behind the rows of
 * its table. The statement that meets such an id has changed nothing, so the sequence is set and the statement is run again.
 *
 * What is behind is found by functions of sql/functions/repair_identities.sql, from the catalog.
 */
import type { Queryable } from "./statement.ts";

/** A sequence that was behind its table. Bigint columns, so texts. */
export interface RepairedIdentity {
  readonly sequence: string;
  readonly last: string;
  readonly highest: string;
}

/** 23505 on a primary key of our schema. The keys that are no identity are not inserted twice: their statements say `on conflict`. */
export function isIdentityCollision(error: unknown): boolean {
  if (typeof error !== "object" || error === null) return false;
  const { code, schema, constraint } = error as Readonly<Record<string, unknown>>;
  return code === "23505" && schema === "account_sync" && String(constraint).endsWith("_pkey");
}

/**
 * Sets every sequence that is behind its table.
 *
 * @param transact runs one statement of ours in a transaction of its own: a table is locked until it ends
 */
export async function repairIdentities(
  transact: <T>(work: (tx: Queryable) => Promise<T>) => Promise<T>,
): Promise<RepairedIdentity[]> {
  const repaired: RepairedIdentity[] = [];
  for (;;) {
    const [one] = await transact((tx) => tx.run<RepairedIdentity>("repair_identity"));
    if (one === undefined) return repaired;
    repaired.push(one);
  }
}

export function describeRepaired({ sequence, last, highest }: RepairedIdentity): string {
  return `Sequence ${sequence} was behind its table, at ${last}, and is set to ${highest}, the highest id there`;
}
