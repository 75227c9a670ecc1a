/** Keeps the ids that the API gives out on our side as well, in the transaction that writes them back: the id mapping. */
import type { Home, MappedEntity, MappedId, MappedRow } from "../account/mapped-ids.ts";
import type { SentRows } from "../customer-command/command.ts";
import type { ReceivedIds } from "../customer-command/match-ids.ts";
import type { Queryable } from "../db/database.ts";
import type { Accepted } from "./conclusion.ts";
import type { RowResult } from "./outcome.ts";
import type { Decision } from "./settlement.ts";

/** Maps what was accepted, and forgets the ids of customers that are gone. */
export async function mapIds(tx: Queryable, decisions: readonly Decision[]): Promise<void> {
  const mapped = decisions.flatMap(({ conclusion, outcome }) =>
    conclusion.kind === "accepted" ? toMapped(conclusion, outcome.rows ?? []) : [],
  );
  await writeMappedIds(tx, mapped);
  await forgetLeftOut(tx, decisions);

  const gone = decisions.flatMap(({ conclusion }) =>
    conclusion.kind === "ended" && conclusion.forgetsIds ? [conclusion.claim.accountId] : [],
  );
  if (gone.length > 0) await tx.run("forget_mapped_ids", [gone]);
}

async function forgetLeftOut(tx: Queryable, decisions: readonly Decision[]): Promise<void> {
  const leftOut = decisions.flatMap(({ conclusion }) => {
    if (conclusion.kind !== "accepted") return [];
    const { accountId, leftOut = [] } = conclusion.attempt.sent;
    return leftOut.map((row) => ({ ...row, accountId }));
  });
  if (leftOut.length === 0) return;

  // One that was moved to another account is not gone: its mapping says where its id is from.
  const ownerOf = new Map<string, string | null>();
  for (const entity of ["tier", "pic"] as const) {
    const ids = leftOut.filter((row) => row.entity === entity).map(({ id }) => id);
    if (ids.length === 0) continue;
    const rows = await tx.run<{ id: string; accountId: string | null }>(`read_${entity}_ids`, [
      ids,
    ]);
    for (const { id, accountId } of rows) ownerOf.set(keyOf({ entity, id }), accountId);
  }
  const gone = leftOut.filter(
    (row) => (ownerOf.get(keyOf(row)) ?? row.accountId) === row.accountId,
  );
  if (gone.length > 0) await tx.run("forget_left_out", [JSON.stringify(gone)]);
}

export async function writeMappedIds(tx: Queryable, rows: readonly MappedRow[]): Promise<void> {
  if (rows.length > 0) await tx.run("map_ids", [JSON.stringify(rows)]);
}

/** Every id of an answer, to be mapped. */
export function toMappedRows(sent: SentRows, received: ReceivedIds, home: Home): MappedRow[] {
  const account = sent.accountId;
  const own: MappedId[] = [
    ...idOf("account", account, received.customer),
    ...idOf("branch", account, received.branch),
    ...received.tiers.map((row) => ({ entity: "tier" as const, ...row })),
    ...received.pics.map((row) => ({ entity: "pic" as const, ...row })),
  ];
  return own.map((row) => toRow(account, row, home));
}

/**
 * The new ids of an answer, also of rows that are gone by now or that the database refuses to change: an id that was received is never
 * lost. And what stood in the rows unmapped: the API has taken it. Where a row has another id than the answer, the row wins.
 */
function toMapped({ attempt, received }: Accepted, rows: readonly RowResult[]): MappedRow[] {
  const { sent, configId } = attempt;
  const home = sent.sentTo ?? { configId, apiUrl: null };
  const statusOf = new Map(rows.map((row) => [keyOf(row), row.status]));
  const unmapped = sent.unmapped ?? [];
  const isUnmapped = new Set(unmapped.map(keyOf));

  const answered = toMappedRows(sent, received, home).filter((row) => {
    const status = statusOf.get(keyOf({ ...row, entity: rowOf(row.entity) }));
    if (status === undefined || status === "locked" || status === "taken") return false;
    // Of a create: another id was written to the row meanwhile. It wins, as long as it stands.
    if (status === "conflict") return attempt.operation === "create";
    return status !== "confirmed" || isUnmapped.has(keyOf(row));
  });
  const taken = new Set(answered.map(keyOf));
  const stood = unmapped
    .filter((row) => !taken.has(keyOf(row)))
    .filter((row) => statusOf.get(keyOf({ ...row, entity: rowOf(row.entity) })) !== "locked");
  return [...answered, ...stood.map((row) => toRow(sent.accountId, row, home))];
}

/** The row that an id stands in: the branch's stands in the account's. */
export function rowOf(entity: MappedEntity): "account" | "tier" | "pic" {
  return entity === "branch" ? "account" : entity;
}

function toRow(accountId: string, row: MappedId, { configId, apiUrl }: Home): MappedRow {
  const { entity, id, externalId } = row;
  return {
    accountId,
    entity,
    id,
    externalId,
    configId,
    apiUrl: entity === "account" ? apiUrl : null,
  };
}

function idOf(entity: "account" | "branch", id: string, externalId: string | null): MappedId[] {
  return externalId === null ? [] : [{ entity, id, externalId }];
}

function keyOf({ entity, id }: { readonly entity: string; readonly id: string }): string {
  return `${entity} ${id}`;
}
