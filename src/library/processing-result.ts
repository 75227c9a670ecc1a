/** What a write-back came to, as it is reported: section by section, row by row, with what is left to be written. Pure. */
import type { SentRows } from "../customer-command/command.ts";
import type { ReceivedIds } from "../customer-command/match-ids.ts";
import type { RowResult } from "../sync/outcome.ts";
import type {
  CustomerRecord,
  FailedUpdate,
  ProcessingResult,
  RowsRecord,
  UpdatedRecord,
} from "./results.ts";

/** What is known of the ids of one answer. */
export interface IdReport {
  readonly records: readonly UpdatedRecord[];
  readonly errors: readonly string[];
  readonly failedUpdates: readonly FailedUpdate[];
}

/** @param reason why nothing was written at all; null otherwise */
export function toProcessingResult(
  { records, errors, failedUpdates }: IdReport,
  reason: string | null = null,
): ProcessingResult {
  return {
    success: errors.length === 0,
    ...(reason === null ? {} : { error: reason }),
    updatedRecords: records,
    errors,
    summary: {
      totalUpdated: records.filter(({ success }) => success).length,
      totalErrors: errors.length,
    },
    ...(failedUpdates.length === 0 ? {} : { failedUpdates }),
  };
}

/** Nothing was written, for this reason. */
export function nothingWritten(
  reason: string,
  failedUpdates: readonly FailedUpdate[] = [],
): ProcessingResult {
  return toProcessingResult({ records: [], errors: [reason], failedUpdates }, reason);
}

export interface ReportedRow {
  readonly id: string;
  readonly uuidBe: string | null;
  readonly success: boolean;
  readonly error?: string;
}

/** The record of one section; empty where it has no rows. */
export function toRowsRecord(
  entity: "tier" | "pic",
  rows: readonly ReportedRow[],
  counts: { readonly updated: number; readonly failed: number },
): RowsRecord[] {
  if (rows.length === 0) return [];
  return [
    {
      success: counts.failed === 0,
      type: TYPES[entity],
      updatedCount: counts.updated,
      failedCount: counts.failed,
      details: rows.map(({ id, success, uuidBe, error }) => ({
        success,
        ...(entity === "tier" ? { tierId: id } : { picId: id }),
        uuidBe,
        ...(error === undefined ? {} : { error }),
      })),
    },
  ];
}

const TYPES = { tier: "tier", pic: "crew" } as const;

/** What came for which rows, and what became of it. */
export interface Written {
  readonly sent: SentRows;
  readonly received: ReceivedIds;
  readonly rows: readonly RowResult[];
  /** False where only ids of other rows are written. Default true. */
  readonly isAboutCustomer?: boolean;
}

export function reportWritten(
  { sent, received, rows, isAboutCustomer = true }: Written,
  updatedAt: string,
): IdReport {
  const resultOf = new Map(rows.map((row) => [`${row.entity} ${row.id}`, row]));
  const account = resultOf.get(`account ${sent.accountId}`);
  const accountError = account === undefined ? null : errorOf(account);
  const customer: CustomerRecord = {
    success: accountError === null,
    type: "customer",
    accountId: sent.accountId,
    uuidBe: received.customer ?? received.branch ?? sent.externalId,
    updatedAt,
    ...(accountError === null ? {} : { error: accountError }),
  };
  const tiers = reportSection("tier", sent, resultOf);
  const pics = reportSection("pic", sent, resultOf);
  return {
    records: [...(isAboutCustomer ? [customer] : []), ...tiers.records, ...pics.records],
    errors: [
      ...(accountError === null ? [] : [`customer ${sent.accountId}: ${accountError}`]),
      ...tiers.errors,
      ...pics.errors,
      ...received.problems
        .filter(({ entity }) => entity === "account")
        .map(({ message }) => message),
    ],
    failedUpdates: [
      ...(accountError === null ? [] : updatesOfAccount(sent, received)),
      ...tiers.failedUpdates,
      ...pics.failedUpdates,
    ],
  };
}

function reportSection(
  entity: "tier" | "pic",
  sent: SentRows,
  resultOf: ReadonlyMap<string, RowResult>,
): IdReport {
  const type = TYPES[entity];
  const rows = (entity === "tier" ? sent.tiers : sent.pics).map(({ id, externalId }) => {
    const row = resultOf.get(`${entity} ${id}`);
    const error =
      row !== undefined
        ? errorOf(row)
        : externalId === null
          ? "the API gave no id that is certainly this row's"
          : null;
    return { id, uuidBe: row?.externalId ?? externalId, error, hasCome: row !== undefined };
  });
  const failed = rows.filter(({ error }) => error !== null);
  return {
    records: toRowsRecord(
      entity,
      rows.map(({ id, uuidBe, error }) => ({
        id,
        uuidBe,
        success: error === null,
        ...(error === null ? {} : { error }),
      })),
      { updated: rows.length - failed.length, failed: failed.length },
    ),
    errors: failed.map(({ id, error }) => `${type} ${id}: ${error}`),
    failedUpdates: failed.flatMap(({ id, uuidBe, hasCome }) =>
      hasCome && uuidBe !== null ? [{ type, id, uuidBe }] : [],
    ),
  };
}

/** Everything that came, as still to be written. */
export function toFailedUpdates({ accountId }: SentRows, received: ReceivedIds): FailedUpdate[] {
  const toUpdate = (type: "tier" | "crew") => (row: ReceivedIds["tiers"][number]) => ({
    type,
    id: row.id,
    uuidBe: row.externalId,
  });
  return [
    ...updatesOfAccount({ accountId }, received),
    ...received.tiers.map(toUpdate("tier")),
    ...received.pics.map(toUpdate("crew")),
  ];
}

function updatesOfAccount(
  { accountId }: Pick<SentRows, "accountId">,
  { customer, branch }: ReceivedIds,
): FailedUpdate[] {
  return [
    ...(customer === null ? [] : [{ type: "customer" as const, id: accountId, uuidBe: customer }]),
    ...(branch === null ? [] : [{ type: "branch" as const, id: accountId, uuidBe: branch }]),
  ];
}

/** Why an id does not stand; null when it does. */
export function errorOf({ status, error }: RowResult): string | null {
  switch (status) {
    case "written":
    case "confirmed":
      return null;
    case "conflict":
      return "it has a different external id already, which was kept";
    case "gone":
      return "there is no such row of this account (any more)";
    case "locked":
      return "it is locked by another transaction";
    case "failed":
      return `the database refused it (${codeOf(error)})`;
    default:
      return status satisfies never;
  }
}

function codeOf(error: unknown): string {
  return error instanceof Error && "code" in error ? String(error.code) : "unknown error";
}
