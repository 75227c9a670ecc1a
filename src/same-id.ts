/**
 * When two ids are the same one. Every comparison of ids asks here; in SQL it asks account_sync.comparable_id
 * (sql/migrations/11_map_rows_to_external_ids.sql), which says the same. Pure.
 *
 * A GUID means the same in either letter case, and one API may write it in both. Every other id is the same only where it is equal to the
 * last character: no space is trimmed, and no Unicode form is turned into another one, as an id that only looks alike may be another row's.
 */

const GUID_LENGTH = 36;
const GUID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

export function isSameId(one: string | null, other: string | null): boolean {
  if (one === other || one === null || other === null) return one === other;
  return toComparableId(one) === toComparableId(other);
}

/** Equal for ids that are the same: for the keys of maps and sets. */
export function toComparableId<Id extends string | null>(id: Id): Id;
export function toComparableId(id: string | null): string | null {
  return id?.length === GUID_LENGTH && GUID.test(id) ? id.toLowerCase() : id;
}

/** The id as it stands already, where the answer has it in another letter case: nothing is rewritten for that. */
export function asItStands<Id extends string | null>(answered: Id, standing: string | null): Id;
export function asItStands(answered: string | null, standing: string | null): string | null {
  return isSameId(answered, standing) ? standing : answered;
}
