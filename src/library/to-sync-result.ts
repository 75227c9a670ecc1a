/** The result of a call, from what it came to. Pure, apart from the time of the write-back, which is now. */
import type { CustomerCommand } from "../customer-command/command.ts";
import type { Language } from "../customer-command/messages.ts";
import type { Outcome } from "../sync/outcome.ts";
import { toApiError, toDetails } from "./api-error.ts";
import type { CallResult } from "./call-sync.ts";
import { toDatabaseError, toDatabaseReason } from "./database-error.ts";
import { notValid, toValidation } from "./not-valid.ts";
import {
  nothingWritten,
  reportWritten,
  toFailedUpdates,
  toProcessingResult,
} from "./processing-result.ts";
import type { SyncResult } from "./results.ts";

/** @param prepared the command as it would have been sent, for a call that did not get so far */
export function toSyncResult(
  { command, result, sent, received, idempotencyKey, outcome, error }: CallResult,
  prepared: CustomerCommand,
  language: Language,
): SyncResult {
  const customerData = command ?? prepared;

  if (result?.kind === "accepted" && sent !== null && received !== null) {
    const why = error === null ? whyNotSettled(outcome) : toDatabaseReason(error);
    const rows = outcome?.rows;
    return {
      success: true,
      response: result.body ?? null,
      customerData,
      processingResult:
        rows === undefined
          ? nothingWritten(why, toFailedUpdates(sent, received, idempotencyKey))
          : toProcessingResult(reportWritten({ sent, received, rows }, new Date().toISOString())),
    };
  }
  if (outcome === null && result === null) {
    const lost = "Database Error: the lease was lost before anything was sent";
    return {
      success: false,
      error: error === null ? lost : toDatabaseError(error),
      customerData,
    };
  }

  const failure = result?.kind === "failed" ? result.failure : null;
  const message = outcome?.error ?? failure?.message ?? outcome?.name ?? "no answer";
  if (outcome !== null && (outcome.name === "blocked" || outcome.errorClass === "validation")) {
    const field = outcome.name === "blocked" ? "customer.parent_id" : "the account";
    return notValid(language, toValidation([{ field, rule: outcome.name, message }]), customerData);
  }
  const isUnknown = outcome?.errorClass === "unknown_outcome";
  const errorClass = outcome?.errorClass ?? failure?.errorClass ?? "network";
  return {
    success: false,
    error: toApiError(message, errorClass),
    details: toDetails(failure, {
      httpStatus: outcome?.httpStatus ?? failure?.httpStatus ?? null,
      errorClass,
      delivery: isUnknown ? "unknown" : (failure?.delivery ?? "not_sent"),
      explanation: message,
    }),
    customerData,
  };
}

/** Accepted, and nothing of it written, without an error that got through. */
function whyNotSettled(outcome: Outcome | null): string {
  return outcome?.error == null
    ? "Database Error: the lease was lost before the ids were written; a daemon writes them"
    : `Database Error: ${outcome.error}`;
}
