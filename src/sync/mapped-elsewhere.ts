/** Ids of an account's rows that are mapped to other rows: of a row that was moved here, or that was copied with its id. */
import type { MappedId } from "../account/mapped-ids.ts";
import type { Queryable } from "../db/database.ts";
import { isSameId } from "../same-id.ts";

export interface MappedElsewhere {
  readonly entity: MappedId["entity"];
  /** Of the account's own row. */
  readonly id: string;
  /** The row that the id is mapped to; the same where it was moved from another account. */
  readonly otherId: string;
  readonly otherAccountId: string;
  readonly externalId: string;
  readonly configId: string | null;
}

/** Without rows that are gone, or have another id by now: what the mapping knows of those is out of date. */
export async function findMappedElsewhere(
  db: Queryable,
  accountId: string,
  rows: readonly MappedId[],
): Promise<readonly MappedElsewhere[]> {
  const found = await db.run<MappedElsewhere>("find_mapped_elsewhere", [
    accountId,
    rows.map(({ externalId }) => externalId),
    rows.map(({ entity }) => entity),
    rows.map(({ id }) => id),
  ]);
  const others = found.filter(({ id, otherId }) => id !== otherId);
  if (others.length === 0) return found;

  const standing = new Map<string, string | null>();
  for (const [query, entities] of IDS_OF) {
    const ids = others.flatMap(({ entity, otherId }) =>
      entities.includes(entity) ? [otherId] : [],
    );
    if (ids.length === 0) continue;
    const read = await db.run<{ id: string; externalId: string | null }>(query, [ids]);
    for (const { id, externalId } of read) standing.set(`${query} ${id}`, externalId);
  }
  return found.filter(({ id, entity, otherId, externalId }) => {
    if (id === otherId) return true;
    const [query = ""] = IDS_OF.find(([, entities]) => entities.includes(entity)) ?? [];
    const stands = standing.get(`${query} ${otherId}`);
    return stands !== undefined && (stands === null || isSameId(stands, externalId));
  });
}

const IDS_OF: readonly (readonly [query: string, entities: readonly string[]])[] = [
  ["read_account_ids", ["account"]],
  ["read_tier_ids", ["tier"]],
  ["read_pic_ids", ["pic"]],
];
