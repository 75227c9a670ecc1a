/** How what a write-back came to is told: section by section, row by row, with what is left to be written. Pure. */
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

/** What came for which rows. */
export interface Written {
  readonly sent: SentRows;
  readonly received: ReceivedIds;
  /** null: nothing was written, for this reason. */
  readonly rows: readonly RowResult[] | { readonly error: string };
  /** False where ids of other rows alone are written. Default true. */
  readonly isAboutCustomer?: boolean;
}

export function toProcessingResult(
  { sent, received, rows, isAboutCustomer = true }: Written,
  updatedAt: string,
): ProcessingResult {
  if ("error" in rows) {
    return {
      success: false,
      error: rows.error,
      updatedRecords: [],
      errors: [rows.error],
      summary: { totalUpdated: 0, totalErrors: 1 },
      failedUpdates: [
        ...ofAccount(sent.accountId, received.customer, received.branch),
        ...received.tiers.map(
          (row): FailedUpdate => toFailedUpdate("tier", row.id, row.externalId),
        ),
        ...received.pics.map((row): FailedUpdate => toFailedUpdate("crew", row.id, row.externalId)),
      ],
    };
  }

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
  const detailsOf = (entity: "tier" | "pic"): RowOutcome[] =>
    (entity === "tier" ? sent.tiers : sent.pics).map(({ id, externalId }) => {
      const row = resultOf.get(`${entity} ${id}`);
      const error =
        row === undefined
          ? externalId === null
            ? "the API gave no id that is certainly this row's"
            : null
          : errorOf(row);
      return { id, uuidBe: row?.externalId ?? externalId, error, came: row !== undefined };
    });
  const tiers = detailsOf("tier");
  const pics = detailsOf("pic");

  const records: UpdatedRecord[] = [
    ...(isAboutCustomer ? [customer] : []),
    ...recordOf("tier", tiers, (id) => ({ tierId: id })),
    ...recordOf("crew", pics, (id) => ({ picId: id })),
  ];
  const errors = [
    ...(accountError === null ? [] : [`customer ${sent.accountId}: ${accountError}`]),
    ...errorsOf("tier", tiers),
    ...errorsOf("crew", pics),
    ...received.problems.filter(({ entity }) => entity === "account").map(({ message }) => message),
  ];
  const failedUpdates = [
    ...(accountError === null ? [] : ofAccount(sent.accountId, received.customer, received.branch)),
    ...failedOf("tier", tiers),
    ...failedOf("crew", pics),
  ];
  return {
    success: errors.length === 0,
    updatedRecords: records,
    errors,
    summary: {
      totalUpdated: records.filter(({ success }) => success).length,
      totalErrors: errors.length,
    },
    ...(failedUpdates.length === 0 ? {} : { failedUpdates }),
  };
}

interface RowOutcome {
  readonly id: string;
  readonly uuidBe: string | null;
  readonly error: string | null;
  /** An id came for it. */
  readonly came: boolean;
}

function recordOf(
  type: "tier" | "crew",
  rows: readonly RowOutcome[],
  toId: (id: string) => { readonly tierId: string } | { readonly picId: string },
): RowsRecord[] {
  if (rows.length === 0) return [];
  const failedCount = rows.filter(({ error }) => error !== null).length;
  return [
    {
      success: failedCount === 0,
      type,
      updatedCount: rows.length - failedCount,
      failedCount,
      details: rows.map(({ id, uuidBe, error }) => ({
        success: error === null,
        ...toId(id),
        uuidBe,
        ...(error === null ? {} : { error }),
      })),
    },
  ];
}

function errorsOf(type: "tier" | "crew", rows: readonly RowOutcome[]): string[] {
  return rows.flatMap(({ id, error }) => (error === null ? [] : [`${type} ${id}: ${error}`]));
}

function failedOf(type: "tier" | "crew", rows: readonly RowOutcome[]): FailedUpdate[] {
  return rows.flatMap(({ id, uuidBe, error, came }) =>
    error === null || uuidBe === null || !came ? [] : [toFailedUpdate(type, id, uuidBe)],
  );
}

function ofAccount(id: string, customer: string | null, branch: string | null): FailedUpdate[] {
  return [
    ...(customer === null ? [] : [toFailedUpdate("customer", id, customer)]),
    ...(branch === null ? [] : [toFailedUpdate("branch", id, branch)]),
  ];
}

function toFailedUpdate(type: FailedUpdate["type"], id: string, uuidBe: string): FailedUpdate {
  return { type, id, uuidBe };
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
