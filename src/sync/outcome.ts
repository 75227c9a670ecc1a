/** The named results of a sync. Everything that can be foreseen is a value here; exceptions are for bugs. */

/** Why something failed; decides what happens next (docs/reference/errors.md). */
export const ERROR_CLASSES = [
  "validation",
  "rejected",
  "unauthorized",
  "throttled",
  "server",
  "network",
  "timeout",
  "incomplete",
  "unknown_outcome",
  "database",
  "id_conflict",
] as const;

export type ErrorClass = (typeof ERROR_CLASSES)[number];

export type Entity = "account" | "tier" | "pic";

export type OutcomeName =
  | "synced"
  | "partial"
  | "unchanged"
  | "gone"
  | "blocked"
  | "retry"
  | "parked";

/** What asked for the sync, from the lane it was claimed in. */
export type Trigger = "change" | "manual" | "backfill";

export type Operation = "create" | "update" | "delete";

export type CountByEntity = Readonly<Record<Entity, number>>;

/** Rows whose external id could not be written, and why. */
export interface FailedRows {
  readonly entity: Entity;
  readonly reason: ErrorClass;
  readonly count: number;
}

/**
 * What became of one row's id: `written`; `confirmed` (it stood there already); `conflict` (another id stands there); `taken` (it
 * is the id of another account, `error` says which); `gone` (the row was removed, or moved to another account); `locked` (try again in a moment); `failed` (the database refused).
 */
export type RowStatus =
  | "written"
  | "confirmed"
  | "conflict"
  | "taken"
  | "gone"
  | "locked"
  | "failed";

export interface RowResult {
  readonly entity: Entity;
  readonly id: string;
  readonly externalId: string;
  readonly status: RowStatus;
  /** Why it failed, or which account has the id; null otherwise. */
  readonly error: unknown;
}

export interface Outcome {
  readonly name: OutcomeName;
  /** null when nothing was sent. */
  readonly operation: Operation | null;
  readonly httpStatus: number | null;
  readonly errorClass: ErrorClass | null;
  /** One line for a human: what was tried, what came back, what to do. Never a personal value. */
  readonly error: string | null;
  /** Rows whose external id was written or confirmed. */
  readonly updated: CountByEntity;
  readonly failed: readonly FailedRows[];
  /** Resolves itself in normal operation: a parent that is on its way, a row that another transaction holds for a moment. */
  readonly isExpected?: boolean;
  /** What became of each id that came; only where an answer was accepted. */
  readonly rows?: readonly RowResult[];
}

/** Error texts end up in rows, logs and tables: so many characters say enough. */
const ERROR_TEXT_MAX = 1_000;

/** PostgreSQL stores no NUL, no half of a surrogate pair in JSON, and no `…` in every encoding. */
export function boundedText(text: string): string {
  const storable = text.replaceAll("\0", "");
  return (
    storable.length <= ERROR_TEXT_MAX ? storable : `${storable.slice(0, ERROR_TEXT_MAX - 3)}...`
  ).toWellFormed();
}
