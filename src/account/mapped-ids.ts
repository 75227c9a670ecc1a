/**
 * The id mapping: external ids as our side keeps them, beside `uuid_be`, which is the application's and may be lost. A row's own id wins;
 * where the row has none, the one that is mapped is its id. Read with the load (read-mapped-ids.ts), written by a sync
 * (src/sync/map-ids.ts). Pure.
 */
import { isSameId } from "../same-id.ts";
import type { Account } from "./account.ts";

export type MappedEntity = "account" | "branch" | "tier" | "pic";

/** The external id of one row. */
export interface MappedId {
  readonly entity: MappedEntity;
  /** Of account and branch the account's own id. */
  readonly id: string;
  readonly externalId: string;
}

/** The row has an id that the mapping does not know. */
export interface UnmappedId extends MappedId {
  /** The one that is mapped instead; null where none is. */
  readonly mappedAs: string | null;
}

/** The configuration that an account belongs to: the one that gave it its id. */
export interface Home {
  /** null for the configuration of the environment. */
  readonly configId: string | null;
  /** Where it pointed to when it gave the id out, without query; null where that is not known. */
  readonly apiUrl: string | null;
}

/** What is known of the ids of one account and its rows. */
export interface IdMapping {
  /** null when no id of the account itself is mapped. */
  readonly home: Home | null;
  /** The home of the account's parent. */
  readonly parentHome: Home | null;
  /** The mapped id of the account itself, also when its row is gone. */
  readonly externalId: string | null;
  /** Ids that their rows have lost: the account has them from the mapping. */
  readonly restored: readonly MappedId[];
  /** Ids of rows that are not mapped, or mapped to another one: the row wins. */
  readonly unmapped: readonly UnmappedId[];
  /** Ids of tiers and contact persons that are gone. */
  readonly leftOut: readonly MappedId[];
}

export interface MappedRow extends MappedId, Home {
  readonly accountId: string;
}

/**
 * Completes an account with the ids that its rows have lost, and says which those are. Pure.
 *
 * @param account as its rows stand; null when it is gone
 */
export function restoreIds(
  accountId: string,
  account: Account | null,
  mapped: ReadonlyMap<string, readonly MappedRow[]>,
  { hasBranchIds }: { readonly hasBranchIds: boolean },
): { readonly account: Account | null; readonly mapping: IdMapping } {
  const ownMapped = mapped.get(accountId) ?? [];
  const own = ownMapped.find(({ entity }) => entity === "account") ?? null;
  const parent = account?.parent ?? null;
  const ofParent = mapped.get(parent?.id ?? "")?.find(({ entity }) => entity === "account") ?? null;

  const known = new Map(ownMapped.map((row) => [keyOf(row), row.externalId]));
  const restored: MappedId[] = [];
  const unmapped: UnmappedId[] = [];
  const complete = (entity: MappedEntity, id: string, stands: string | null): string | null => {
    const kept = known.size === 0 ? null : (known.get(keyOf({ entity, id })) ?? null);
    if (stands === null) {
      if (kept !== null) restored.push({ entity, id, externalId: kept });
      return kept;
    }
    if (!isSameId(stands, kept)) unmapped.push({ entity, id, externalId: stands, mappedAs: kept });
    return stands;
  };

  const completed =
    account === null
      ? null
      : {
          ...account,
          externalId: complete("account", account.id, account.externalId),
          branchExternalId: hasBranchIds
            ? complete("branch", account.id, account.branchExternalId)
            : null,
          parent:
            parent === null
              ? null
              : { ...parent, externalId: parent.externalId ?? ofParent?.externalId ?? null },
          tiers: account.tiers.map((tier) =>
            withExternalId(tier, complete("tier", tier.id, tier.externalId)),
          ),
          pics: account.pics.map((pic) =>
            withExternalId(pic, complete("pic", pic.id, pic.externalId)),
          ),
        };
  return {
    account: completed,
    mapping: {
      home: toHome(own),
      parentHome: toHome(ofParent),
      externalId: own?.externalId ?? null,
      restored,
      unmapped,
      leftOut: ownMapped.length === 0 ? [] : findLeftOut(ownMapped, account),
    },
  };
}

function withExternalId<Row extends { readonly externalId: string | null }>(
  row: Row,
  externalId: string | null,
): Row {
  return row.externalId === externalId ? row : { ...row, externalId };
}

function findLeftOut(mapped: readonly MappedRow[], account: Account | null): MappedId[] {
  const present = new Set([
    ...(account?.tiers ?? []).map(({ id }) => keyOf({ entity: "tier", id })),
    ...(account?.pics ?? []).map(({ id }) => keyOf({ entity: "pic", id })),
  ]);
  return mapped
    .filter((row) => (row.entity === "tier" || row.entity === "pic") && !present.has(keyOf(row)))
    .map(({ entity, id, externalId }) => ({ entity, id, externalId }));
}

function keyOf({ entity, id }: Pick<MappedId, "entity" | "id">): string {
  return `${entity} ${id}`;
}

function toHome(row: Home | null): Home | null {
  return row === null ? null : { configId: row.configId, apiUrl: row.apiUrl };
}
