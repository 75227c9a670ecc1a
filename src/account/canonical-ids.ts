/** Ids as the source table writes them: `{A}` and `a` are one uuid, `007` and `7` one number. */
import type { Queryable } from "../db/database.ts";

/** In the order they were given; one that the key cannot hold stays as it is. */
export async function canonicalIds(
  db: Queryable,
  ids: readonly string[],
): Promise<readonly string[]> {
  const rows = await db.run<{ accountId: string }>("canonical_ids", [ids]);
  return ids.map((id, position) => rows[position]?.accountId ?? id);
}

export async function canonicalId(db: Queryable, id: string): Promise<string> {
  const [canonical = id] = await canonicalIds(db, [id]);
  return canonical;
}
