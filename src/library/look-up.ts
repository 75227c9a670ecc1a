/** Values in the tables that accounts refer to by id: names of types, external ids of banks. */
import type { Source } from "../account/source.ts";
import type { Queryable } from "../db/database.ts";

const QUERIES = {
  m_account_type: "find_account_types",
  m_bank: "find_banks",
} as const;

/** Resolves with the value of each of these ids; null for any other, and where the table does not exist. */
export async function lookUp(
  db: Queryable,
  source: Pick<Source, "has">,
  table: keyof typeof QUERIES,
  ids: readonly (string | null)[],
): Promise<(id: string | null) => string | null> {
  const wanted = new Set(ids.filter((id) => id !== null));
  if (wanted.size === 0 || !source.has(table)) return () => null;

  const rows = await db.run<{ id: string; value: string | null }>(QUERIES[table], [[...wanted]]);
  const values = new Map(rows.map((row) => [row.id, row.value]));
  return (id) => (id === null ? null : (values.get(id) ?? null));
}
