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

/** A section of which at least one id does not stand, and why. */
export interface SectionFailure {
  readonly section: Section;
  readonly reason: string;
}

export type Section = "account" | "tier" | "crew";

/** What is known of the ids of one answer. */
export interface IdReport {
  /** Of sections of which something was written. */
  readonly records: readonly UpdatedRecord[];
  /** At most one per section. */
  readonly failures: readonly SectionFailure[];
  readonly failedUpdates: readonly FailedUpdate[];
}

/** @param reason why nothing was written at all, where that has one cause; else it is told by section */
export function toProcessingResult(
  { records, failures, failedUpdates }: IdReport,
  reason: string | null = null,
): ProcessingResult {
  const isNothingWritten = records.length === 0 && failures.length > 0;
  const reasons = new Set(failures.map((failure) => failure.reason));
  return {
    success: failures.length === 0,
    ...(isNothingWritten && { error: reason ?? [...reasons].join("; ") }),
    updatedRecords: records,
    errors: failures.map(
      (failure) => `Failed to update ${failure.section} UUID: ${failure.reason}`,
    ),
    summary: {
      totalUpdated: records.filter(({ success }) => success).length,
      totalErrors: failures.length,
    },
    ...(failedUpdates.length > 0 && { failedUpdates }),
  };
}

/** Nothing was written, for this reason: neither the account's id nor those that came for other sections. */
export function nothingWritten(
  reason: string,
  failedUpdates: readonly FailedUpdate[] = [],
): ProcessingResult {
  const came = new Set(failedUpdates.map(({ type }) => SECTION_OF[type]));
  const sections =
    came.size === 0 ? (["account"] as const) : SECTIONS.filter((one) => came.has(one));
  const failures = sections.map((section) => ({ section, reason }));
  return toProcessingResult({ records: [], failures, failedUpdates }, reason);
}

const SECTIONS = ["account", "tier", "crew"] as const;
const SECTION_OF: Readonly<Record<FailedUpdate["type"], Section>> = {
  customer: "account",
  branch: "account",
  tier: "tier",
  crew: "crew",
};

export interface ReportedRow {
  readonly id: string;
  readonly uuidBe: string | null;
  readonly success: boolean;
  readonly error?: string;
}

/** The record of one section; empty where nothing of it was written. */
export function toRowsRecord(
  entity: "tier" | "pic",
  rows: readonly ReportedRow[],
  counts: { readonly updated: number; readonly failed: number },
): RowsRecord[] {
  if (counts.updated === 0) return [];
  const record = {
    success: counts.failed === 0,
    updatedCount: counts.updated,
    failedCount: counts.failed,
  };
  const rest = ({ uuidBe, error }: ReportedRow) => ({
    uuidBe,
    ...(error !== undefined && { error }),
  });
  return entity === "tier"
    ? [
        {
          ...record,
          type: "tier",
          details: rows.map((row) => ({ success: row.success, tierId: row.id, ...rest(row) })),
        },
      ]
    : [
        {
          ...record,
          type: "crew",
          details: rows.map((row) => ({ success: row.success, picId: row.id, ...rest(row) })),
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
  const writeError = account === undefined ? null : errorOf(account);
  const accountError = writeError ?? problemOf(received, "account");
  const customer: CustomerRecord = {
    success: true,
    type: "customer",
    accountId: sent.accountId,
    uuidBe: received.customer ?? received.branch ?? sent.externalId,
    updatedAt,
  };
  const tiers = reportSection("tier", sent, received, resultOf);
  const pics = reportSection("pic", sent, received, resultOf);
  return {
    records: [
      ...(isAboutCustomer && accountError === null ? [customer] : []),
      ...tiers.records,
      ...pics.records,
    ],
    failures: [
      ...(accountError === null ? [] : [{ section: "account" as const, reason: accountError }]),
      ...tiers.failures,
      ...pics.failures,
    ],
    failedUpdates: [
      ...(writeError === null ? [] : updatesOfAccount(sent, received)),
      ...tiers.failedUpdates,
      ...pics.failedUpdates,
    ],
  };
}

function reportSection(
  entity: "tier" | "pic",
  sent: SentRows,
  received: ReceivedIds,
  resultOf: ReadonlyMap<string, RowResult>,
): IdReport {
  const type = TYPES[entity];
  const problem = problemOf(received, entity);
  const noId = problem ?? "the API gave no id that is certainly this row's";
  const rows = (entity === "tier" ? sent.tiers : sent.pics).map(({ id, externalId }) => {
    const row = resultOf.get(`${entity} ${id}`);
    const error = row !== undefined ? errorOf(row) : externalId === null ? noId : null;
    return { id, uuidBe: row?.externalId ?? externalId, error, hasCome: row !== undefined };
  });
  const failed = rows.filter(({ error }) => error !== null);
  // The API took the section in part, and all ids stand: it is not known which rows it refused.
  const refused = failed.length > 0 ? 0 : countOf(received, entity);
  const reason = failed.length > 0 ? toReason(failed) : problem;
  return {
    records: toRowsRecord(
      entity,
      rows.map(({ id, uuidBe, error }) => ({
        id,
        uuidBe,
        success: error === null,
        ...(error === null ? {} : { error }),
      })),
      {
        updated: Math.max(rows.length - failed.length - refused, 0),
        failed: failed.length + refused,
      },
    ),
    failures: reason === null ? [] : [{ section: type, reason }],
    failedUpdates: failed.flatMap(({ id, uuidBe, hasCome }) =>
      hasCome && uuidBe !== null ? [{ type, id, uuidBe }] : [],
    ),
  };
}

/** Rows named in the sentence of a section; `failedUpdates` and the record name all. */
const NAMED_ROWS_MAX = 5;

/** Each reason with the rows it is about. */
function toReason(
  failed: readonly { readonly id: string; readonly error: string | null }[],
): string {
  return [...Map.groupBy(failed, ({ error }) => error)]
    .map(([error, rows]) => {
      const named = rows.slice(0, NAMED_ROWS_MAX).map(({ id }) => id);
      const others = rows.length - named.length;
      return `${error} (${named.join(", ")}${others > 0 ? ` and ${others} more` : ""})`;
    })
    .join("; ");
}

function problemOf({ problems }: ReceivedIds, wanted: "account" | "tier" | "pic"): string | null {
  const messages = problems.filter(({ entity }) => entity === wanted).map(({ message }) => message);
  return messages.length === 0 ? null : messages.join("; ");
}

function countOf({ problems }: ReceivedIds, wanted: "tier" | "pic"): number {
  const counts = problems.filter(({ entity }) => entity === wanted).map(({ count }) => count);
  return counts.reduce((sum, count) => sum + count, 0);
}

/**
 * Everything that came, as still to be written.
 *
 * @param idempotencyKey of the send, where the journal may not have its answer
 */
export function toFailedUpdates(
  { accountId }: SentRows,
  received: ReceivedIds,
  idempotencyKey: string | null = null,
): FailedUpdate[] {
  const toUpdate = (type: "tier" | "crew") => (row: ReceivedIds["tiers"][number]) => ({
    type,
    id: row.id,
    uuidBe: row.externalId,
  });
  const updates: FailedUpdate[] = [
    ...updatesOfAccount({ accountId }, received),
    ...received.tiers.map(toUpdate("tier")),
    ...received.pics.map(toUpdate("crew")),
  ];
  return idempotencyKey === null
    ? updates
    : updates.map((update) => ({ ...update, idempotencyKey }));
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
    case "taken":
      return `it is the id of account ${String(error)}`;
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
