/**
 * Markers: requests for many accounts, as `request_all`, a changed bank or a TRUNCATE append them. Each is walked in chunks, which mark
 * accounts by changes of their own.
 *
 * A marker is not lost. One that cannot be expanded is set aside and tried again. A table or column that it reads may be away for a
 * moment, while the application is deployed; it is given up only where this database has nothing to expand it along.
 */
import type { Database, Queryable } from "../db/database.ts";
import { errorCode, isImpossibleValue } from "../db/error-code.ts";
import type { Trigger } from "../sync/outcome.ts";

/** Accounts marked by one step of an expansion. */
const EXPANSION_CHUNK = 5_000;
/** The longest wait of a marker that cannot be expanded. */
const SET_ASIDE_MAX_MS = 2_560_000;
/** The same where a table or column is away: it may be back at any moment. */
const ABSENT_MAX_MS = 8_000;

/** What became of a marker that could not be expanded. */
export interface FailedExpansion {
  readonly error: unknown;
  /** When it is due again; null: given up, as this database has nothing that it could be expanded along. */
  readonly againInMs: number | null;
}

interface Expansion {
  readonly expansionId: string;
  readonly marker: string;
  readonly markerId: string | null;
  readonly lane: Trigger;
  readonly request: object | null;
  readonly changedAt: string;
  readonly watermark: string | null;
}

/**
 * Expands one chunk of one marker into changes. Resolves false when there is none to expand. Rejects when the database is out of reach.
 */
export async function expandMarker(db: Database): Promise<boolean | FailedExpansion> {
  return await db.transaction(async (tx) => {
    const [expansion] = await tx.run<Expansion>("next_expansion");
    if (expansion === undefined) return false;

    const parameters = [
      expansion.watermark,
      EXPANSION_CHUNK,
      expansion.lane,
      expansion.request,
      expansion.changedAt,
    ];
    if (expansion.markerId !== null) parameters.push(expansion.markerId);
    const tried = await tx.trySavepoint(() =>
      tx.run<{ accountId: string }>(`expand_${expansion.marker}`, parameters),
    );
    if ("error" in tried) return await afterFailure(tx, expansion, tried.error);

    const last = tried.value.at(-1);
    if (last === undefined || tried.value.length < EXPANSION_CHUNK)
      await tx.run("end_expansion", [expansion.expansionId]);
    else await tx.run("advance_expansion", [expansion.expansionId, last.accountId]);
    return true;
  });
}

async function afterFailure(
  tx: Queryable,
  expansion: Expansion,
  error: unknown,
): Promise<true | FailedExpansion> {
  const { expansionId, marker, markerId, watermark } = expansion;
  if (isImpossibleValue(error) && watermark !== null) {
    // The table was made anew with keys of another type: its accounts are walked from the first one.
    await tx.run("advance_expansion", [expansionId, null]);
    return true;
  }
  if (isImpossibleValue(error) && markerId !== null) {
    // No key can hold the row's id, so no account depends on it.
    await tx.run("end_expansion", [expansionId]);
    return true;
  }
  if (!isAbsence(error)) return await setAside(tx, expansion, error, FAILED);

  const [table] = await tx.run<{ isAwaited: boolean }>("awaits_marker_table", [marker]);
  if (table?.isAwaited === false) {
    await tx.run("end_expansion", [expansionId]);
    return { error, againInMs: null };
  }
  return await setAside(tx, expansion, error, ABSENT);
}

/** 42P01, 42703: there is no such table or column, at present or in this database. */
function isAbsence(error: unknown): boolean {
  return ["42P01", "42703"].includes(errorCode(error) ?? "");
}

const FAILED = { firstMs: 5_000, longestMs: SET_ASIDE_MAX_MS, withItsKind: false };
/** Thousands of banks can have changed, and what one of the markers misses all of them miss. */
const ABSENT = { firstMs: 1_000, longestMs: ABSENT_MAX_MS, withItsKind: true };

async function setAside(
  tx: Queryable,
  { expansionId, marker }: Expansion,
  error: unknown,
  { firstMs, longestMs, withItsKind }: typeof FAILED,
): Promise<FailedExpansion> {
  const [postponed] = await tx.run<{ waitMs: number }>("postpone_expansion", [
    expansionId,
    errorCode(error),
    firstMs,
    longestMs,
    withItsKind ? marker : null,
  ]);
  return { error, againInMs: postponed?.waitMs ?? longestMs };
}
