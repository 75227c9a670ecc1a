/**
 * Writes external ids without a send: ids that the caller has from elsewhere, and ids that a sync could not write. It uses the
 * write-back of a sync, which does not wait for locked rows.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { Account } from "../account/account.ts";
import { describeSource } from "../account/source.ts";
import type { SentRow, SentRows } from "../customer-command/command.ts";
import type { ReceivedIds } from "../customer-command/match-ids.ts";
import type { Database } from "../db/database.ts";
import type { RowResult } from "../sync/outcome.ts";
import { writeBack } from "../sync/write-back.ts";
import { toDatabaseReason } from "./database-error.ts";

export interface IdWrites {
  readonly sent: SentRows;
  readonly received: ReceivedIds;
  readonly userId: string;
  /** Whether a different id that the row has already is replaced. */
  readonly replace: boolean;
}

/** Other transactions rarely lock a row for longer than a second. */
const LOCKED_TRIES = 10;
const LOCKED_WAIT_MS = 100;

/** Resolves with the result of each id, or with the reason why none was written. */
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
    return { error: toDatabaseReason(error) };
  }
}

/** Reads the row that an id is to be written to; null when it does not exist. */
export async function readRow(
  db: Database,
  type: "customer" | "tier" | "crew",
  id: string,
): Promise<{ readonly sent: SentRows } | null> {
  if (type === "customer") {
    const [row] = await db.run<{
      id: string;
      externalId: string | null;
      branchExternalId: string | null;
    }>("read_account_ids", [[id]]);
    if (row === undefined) return null;
    const { externalId, branchExternalId } = row;
    return { sent: { ...noRows(row.id), externalId, branchExternalId } };
  }

  const query = type === "tier" ? "read_tier_ids" : "read_pic_ids";
  const [row] = await db.run<{ id: string; accountId: string | null; externalId: string | null }>(
    query,
    [[id]],
  );
  if (row === undefined || row.accountId === null) return null;
  const rows: readonly SentRow[] = [{ id: row.id, externalId: row.externalId }];
  return {
    sent: { ...noRows(row.accountId), ...(type === "tier" ? { tiers: rows } : { pics: rows }) },
  };
}

/** The ids that the account has: `writeIds` writes only while they are unchanged. */
export function sentOf({ id, externalId, branchExternalId }: Account): SentRows {
  return { ...noRows(id), externalId, branchExternalId };
}

function noRows(accountId: string): SentRows {
  return { accountId, externalId: null, branchExternalId: null, tiers: [], pics: [] };
}
