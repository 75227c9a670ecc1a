/**
 * Writes external ids by themselves: what a caller has from somewhere else, and what a sync could not write. Through the one write-back,
 * so nothing waits for a row for long, and an id that stands is replaced only where somebody says so.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { Account } from "../account/account.ts";
import { describeSource } from "../account/source.ts";
import type { SentRow, SentRows } from "../customer-command/command.ts";
import type { ReceivedIds } from "../customer-command/match-ids.ts";
import { type Database, errorCode } from "../db/database.ts";
import type { RowResult } from "../sync/outcome.ts";
import { writeBack } from "../sync/write-back.ts";
import type { FailedUpdate, ProcessingResult } from "./results.ts";

export interface IdWrites {
  readonly sent: SentRows;
  readonly received: ReceivedIds;
  readonly userId: string;
  /** A different id that stands is replaced. */
  readonly replace: boolean;
}

/** A row that somebody holds is free again in a moment. */
const LOCKED_TRIES = 10;
const LOCKED_WAIT_MS = 100;

/** Resolves with what became of each id, or why nothing was written. */
export async function writeIds(
  db: Database,
  writes: IdWrites,
): Promise<readonly RowResult[] | { readonly error: string }> {
  try {
    for (let tries = 1; ; tries += 1) {
      const { hasBranchIds } = await describeSource(db);
      const results = await db.transaction((tx) =>
        writeBack(tx, [writes], { hasBranchIds, rowByRow: true }),
      );
      const rows = results.flat();
      if (tries === LOCKED_TRIES || !rows.some(({ status }) => status === "locked")) return rows;
      await sleep(LOCKED_WAIT_MS);
    }
  } catch (error) {
    return { error: toDatabaseError(error) };
  }
}

/** The row that `writeIds` is told of, as it stands; null when there is none. */
export async function readRow(
  db: Database,
  type: "customer" | "tier" | "crew",
  id: string,
): Promise<{ readonly accountId: string; readonly sent: SentRows } | null> {
  const rowsOf = (accountId: string, part: Partial<SentRows>): SentRows => ({
    accountId,
    externalId: null,
    branchExternalId: null,
    tiers: [],
    pics: [],
    ...part,
  });
  if (type === "customer") {
    const [row] = await db.run<{
      id: string;
      externalId: string | null;
      branchExternalId: string | null;
    }>("read_account_ids", [[id]]);
    if (row === undefined) return null;
    const { externalId, branchExternalId } = row;
    return { accountId: row.id, sent: rowsOf(row.id, { externalId, branchExternalId }) };
  }

  const query = type === "tier" ? "read_tier_ids" : "read_pic_ids";
  const [row] = await db.run<{ id: string; accountId: string | null; externalId: string | null }>(
    query,
    [[id]],
  );
  if (row === undefined || row.accountId === null) return null;
  const own: SentRow = { id: row.id, externalId: row.externalId };
  return {
    accountId: row.accountId,
    sent: rowsOf(row.accountId, type === "tier" ? { tiers: [own] } : { pics: [own] }),
  };
}

/** The account's ids as they stand, for a write that compares with them. */
export function sentOf({ id, externalId, branchExternalId }: Account): SentRows {
  return { accountId: id, externalId, branchExternalId, tiers: [], pics: [] };
}

export function receivedOf(updates: readonly FailedUpdate[]): ReceivedIds {
  const idsOf = (type: FailedUpdate["type"]) =>
    updates
      .filter((update) => update.type === type)
      .map(({ id, uuidBe }) => ({ id, externalId: uuidBe }));
  return {
    customer: idsOf("customer")[0]?.externalId ?? null,
    branch: idsOf("branch")[0]?.externalId ?? null,
    tiers: idsOf("tier"),
    pics: idsOf("crew"),
    problems: [],
  };
}

/** What a result says is still to be written, also when it has been through JSON. */
export function failedUpdatesOf(result: ProcessingResult): readonly FailedUpdate[] {
  if (result.failedUpdates !== undefined) return result.failedUpdates;
  return result.updatedRecords.flatMap((record): FailedUpdate[] => {
    if (record.success) return [];
    if (record.type === "customer") {
      return record.uuidBe === null
        ? []
        : [{ type: "customer", id: record.accountId, uuidBe: record.uuidBe }];
    }
    return record.details.flatMap((detail): FailedUpdate[] => {
      if (detail.success || detail.uuidBe === null) return [];
      const id = "tierId" in detail ? detail.tierId : detail.picId;
      return [{ type: record.type, id, uuidBe: detail.uuidBe }];
    });
  });
}

/** Never the database's own words: they may carry a value of the row. */
export function toDatabaseError(error: unknown): string {
  const code = errorCode(error);
  return `Database Error: ${code === null ? (error instanceof Error ? error.message : "unknown error") : `the database failed with ${code}`}`;
}
