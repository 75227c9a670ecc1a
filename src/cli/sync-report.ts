/** What `sync` reports of an account, in the shape of the library's results, from the journal and the account's row. Pure. */
import type { AccountState } from "../console/api.ts";
import type { SentRow, SentRows } from "../customer-command/command.ts";
import type { ReceivedIds } from "../customer-command/match-ids.ts";
import type { ReceivedId } from "../customer-command/match-rows.ts";
import { isOfApi, toApiError } from "../library/api-error.ts";
import { type IdReport, toProcessingResult, toRowsRecord } from "../library/processing-result.ts";
import type { CustomerRecord, ProcessingResult } from "../library/results.ts";
import type { CountByEntity, ErrorClass, Operation, OutcomeName } from "../sync/outcome.ts";

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
export interface SyncReport {
  /** The API has what was sent; `processingResult` tells whether all ids stand, too. */
  readonly success: boolean;
  readonly accountId: string;
  readonly outcome: OutcomeName | "unfinished";
  readonly operation: Operation | null;
  readonly httpStatus: number | null;
  readonly errorClass?: ErrorClass;
  readonly error?: string;
  /** What is worth knowing of a sync that succeeded. */
  readonly note?: string;
  readonly nextAttemptAt?: string;
  /** Number of validation warnings; `preview` lists them. */
  readonly warnings: number;
  readonly processingResult: ProcessingResult;
}

/** The result by its attempt; without one, by the account's row. */
export function reportOf(
  account: FollowedAccount,
  attempt: FinishedAttempt | undefined,
): SyncReport {
  const outcome = attempt?.outcome ?? (account.state === "parked" ? "parked" : "retry");
  const isAccepted = outcome === "synced" || outcome === "partial" || outcome === "unchanged";
  const errorClass = attempt?.errorClass ?? account.errorClass;
  const explanation = attempt?.error ?? account.error ?? FALLBACK_ERRORS[outcome];
  const error =
    explanation !== null && !isAccepted && isOfApi(errorClass)
      ? toApiError(explanation, errorClass)
      : explanation;

  return {
    success: isAccepted,
    accountId: account.accountId,
    outcome,
    operation: attempt?.operation ?? null,
    httpStatus: attempt?.httpStatus ?? null,
    ...(errorClass === null ? {} : { errorClass }),
    ...(error === null ? {} : isAccepted && errorClass === null ? { note: error } : { error }),
    ...(outcome === "retry" && account.dueAt !== null ? { nextAttemptAt: account.dueAt } : {}),
    warnings: attempt?.warnings ?? 0,
    processingResult: toProcessingResult(toIdReport(attempt, error)),
  };
}

/** It did not come to its end while the command waited. The request stands, and a daemon goes on with it. */
export function unfinishedReport(account: FollowedAccount): SyncReport {
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
    processingResult: toProcessingResult(toIdReport(undefined, error)),
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

/** The journal knows which ids came and how many rows failed, not which of them: details name the ids. */
function toIdReport(attempt: FinishedAttempt | undefined, error: string | null): IdReport {
  const nothing = { records: [], failedUpdates: [] };
  const why = error ?? "no id came";
  const { sent = null, received = null, updated = null } = attempt ?? {};
  if (attempt === undefined || sent === null || received === null || updated === null)
    return {
      ...nothing,
      failures: error === null ? [] : [{ section: "account", reason: error }],
    };

  const failed = attempt.failed ?? { account: 0, tier: 0, pic: 0 };
  const section = (
    entity: "tier" | "pic",
    rows: readonly SentRow[],
    ids: readonly ReceivedId[],
  ) => {
    const idOf = new Map(ids.map((row) => [row.id, row.externalId]));
    return toRowsRecord(
      entity,
      rows.map((row) => {
        const uuidBe = idOf.get(row.id) ?? row.externalId;
        return { id: row.id, uuidBe, success: uuidBe !== null };
      }),
      { updated: updated[entity], failed: failed[entity] },
    );
  };
  const customer: CustomerRecord = {
    success: true,
    type: "customer",
    accountId: attempt.accountId,
    uuidBe: received.customer ?? received.branch ?? sent.externalId,
    updatedAt: attempt.finishedAt,
  };
  const isCustomerWritten = updated.account > 0 && failed.account === 0;
  return {
    records: [
      ...(isCustomerWritten ? [customer] : []),
      ...section("tier", sent.tiers, received.tiers),
      ...section("pic", sent.pics, received.pics),
    ],
    failures: [
      ...(isCustomerWritten
        ? []
        : [{ section: "account" as const, reason: reasonOf("account", why) }]),
      ...(failed.tier === 0 ? [] : [{ section: "tier" as const, reason: reasonOf("tier", why) }]),
      ...(failed.pic === 0 ? [] : [{ section: "crew" as const, reason: reasonOf("pic", why) }]),
    ],
    failedUpdates: [],
  };
}

/** The part of the journal's line that names rows of this kind; all of it where no part does. */
function reasonOf(entity: "account" | "tier" | "pic", error: string): string {
  const parts = error.split("; ").filter((part) => part.startsWith(`${entity} `));
  return parts.length === 0 ? error : parts.join("; ");
}
