/** What `sync` tells about an account, in the shape of the library's results, from the journal and the account's row. Pure. */
import type { AccountState } from "../console/api.ts";
import type { SentRow, SentRows } from "../customer-command/command.ts";
import type { ReceivedId, ReceivedIds } from "../customer-command/match-ids.ts";
import type { PicDetail, ProcessingResult, TierDetail, UpdatedRecord } from "../library/results.ts";
import type { CountByEntity, Entity, ErrorClass, Operation, OutcomeName } from "../sync/outcome.ts";

/** An attempt that came to an outcome. */
export interface FinishedAttempt {
  readonly accountId: string;
  readonly generation: string;
  readonly outcome: OutcomeName;
  readonly operation: Operation | null;
  readonly finishedAt: string;
  readonly httpStatus: number | null;
  readonly errorClass: ErrorClass | null;
  readonly error: string | null;
  readonly sent: SentRows | null;
  readonly received: ReceivedIds | null;
  readonly updated: CountByEntity | null;
  readonly failed: CountByEntity | null;
  readonly warnings: number;
}

/** How an account's row stands; all null while the queue does not know it. */
export interface FollowedAccount {
  readonly accountId: string;
  /** Changes or requests wait to be folded. */
  readonly hasChanges: boolean;
  readonly generation: string | null;
  readonly state: AccountState | null;
  readonly dueInMs: number | null;
  readonly dueAt: string | null;
  readonly errorClass: ErrorClass | null;
  readonly error: string | null;
}

/** As `sync` prints it; where this process did the send, with `customerData` and `response` beside it. */
export interface SyncResult {
  /** The API has what was sent; `processingResult` tells whether all ids stand, too. */
  readonly success: boolean;
  readonly accountId: string;
  readonly outcome: OutcomeName | "unfinished";
  readonly operation: Operation | null;
  readonly httpStatus: number | null;
  readonly errorClass?: ErrorClass;
  readonly error?: string;
  readonly nextAttemptAt?: string;
  /** What validation had to say about the command; `preview` tells them. */
  readonly warnings: number;
  readonly processingResult: ProcessingResult;
}

/** What became of an account, by its attempt; without one it rests as its row says. */
export function resultOf(
  account: FollowedAccount,
  attempt: FinishedAttempt | undefined,
): SyncResult {
  const outcome = attempt?.outcome ?? (account.state === "parked" ? "parked" : "retry");
  const isAccepted = outcome === "synced" || outcome === "partial" || outcome === "unchanged";
  const error = attempt?.error ?? account.error ?? FALLBACK_ERRORS[outcome];
  const errorClass = attempt?.errorClass ?? account.errorClass;

  return {
    success: isAccepted,
    accountId: account.accountId,
    outcome,
    operation: attempt?.operation ?? null,
    httpStatus: attempt?.httpStatus ?? null,
    ...(errorClass === null ? {} : { errorClass }),
    ...(error === null ? {} : { error }),
    ...(outcome === "retry" && account.dueAt !== null ? { nextAttemptAt: account.dueAt } : {}),
    warnings: attempt?.warnings ?? 0,
    processingResult: toProcessingResult(attempt, error),
  };
}

/** Somebody waited, and it did not come to its end. The request stands, and a daemon goes on with it. */
export function unfinishedResult(account: FollowedAccount): SyncResult {
  const state = account.hasChanges || account.state === null ? "not folded yet" : account.state;
  const why = account.error === null ? "" : ` (${account.error})`;
  const error = `Not finished in time; it is ${state}${why}. The request stays: a running daemon goes on with it.`;
  return {
    success: false,
    accountId: account.accountId,
    outcome: "unfinished",
    operation: null,
    httpStatus: null,
    error,
    warnings: 0,
    processingResult: toProcessingResult(undefined, error),
  };
}

const FALLBACK_ERRORS: Readonly<Record<OutcomeName, string | null>> = {
  synced: null,
  partial: null,
  unchanged: null,
  gone: "There is no account with this id (any more).",
  blocked: "Waits for its parent, which has no external id yet.",
  retry: "Failed, and is tried again.",
  parked: "Set aside.",
};

function toProcessingResult(
  attempt: FinishedAttempt | undefined,
  error: string | null,
): ProcessingResult {
  const updatedRecords = attempt === undefined ? [] : toUpdatedRecords(attempt);
  const errors = error === null ? [] : [error];
  return {
    success: errors.length === 0,
    updatedRecords,
    errors,
    summary: {
      totalUpdated: updatedRecords.filter((record) => record.success).length,
      totalErrors: errors.length,
    },
  };
}

/** The journal knows which ids came and how many rows failed, not which of them: details name the ids. */
function toUpdatedRecords(attempt: FinishedAttempt): UpdatedRecord[] {
  const { sent, received, updated } = attempt;
  if (sent === null || received === null || updated === null) return [];

  const section = (
    type: "tier" | "crew",
    entity: Entity,
    rows: readonly SentRow[],
    ids: readonly ReceivedId[],
    toRow: (id: string) => Pick<TierDetail, "tierId"> | Pick<PicDetail, "picId">,
  ): UpdatedRecord[] => {
    if (rows.length === 0) return [];
    const failedCount = attempt.failed?.[entity] ?? 0;
    const idOf = new Map(ids.map((row) => [row.id, row.externalId]));
    return [
      {
        success: failedCount === 0,
        type,
        updatedCount: updated[entity],
        failedCount,
        details: rows.map((row) => {
          const uuidBe = idOf.get(row.id) ?? row.externalId;
          return { success: uuidBe !== null, ...toRow(row.id), uuidBe };
        }),
      },
    ];
  };

  return [
    {
      success: updated.account > 0 && (attempt.failed?.account ?? 0) === 0,
      type: "customer",
      accountId: attempt.accountId,
      uuidBe: received.customer ?? received.branch ?? sent.externalId,
      updatedAt: attempt.finishedAt,
    },
    ...section("tier", "tier", sent.tiers, received.tiers, (tierId) => ({ tierId })),
    ...section("crew", "pic", sent.pics, received.pics, (picId) => ({ picId })),
  ];
}
