/** The sentence about an API that refused, or did not answer. The same whichever process sent. Pure. */
import { apiWordsIn } from "../customer-api/api-words.ts";
import type { ApiFailure } from "../customer-api/customer-api.ts";
import type { ErrorClass } from "../sync/outcome.ts";
import type { RefusalDetails, RefusedResult } from "./results.ts";

/** @param explanation the line that the history keeps */
export function toApiError(explanation: string, errorClass: string | null): string {
  // Of a create in doubt the advice counts, and not what a repeat of it was answered.
  const words = errorClass === "unknown_outcome" ? null : apiWordsIn(explanation);
  return `External API Error: ${words ?? explanation}`;
}

/** The API's own error, with what we know of the request. */
export function toDetails(
  failure: Pick<ApiFailure, "answered" | "retryAfterMs"> | null,
  known: Omit<RefusalDetails, "retryAfterMs">,
): RefusedResult["details"] {
  return { ...failure?.answered, ...known, retryAfterMs: failure?.retryAfterMs ?? null };
}

/** Whether a failure of this class came from the API, or from the way to it. */
export function isOfApi(errorClass: ErrorClass | null): boolean {
  return errorClass !== null && API_CLASSES.has(errorClass);
}

const API_CLASSES: ReadonlySet<ErrorClass> = new Set([
  "rejected",
  "unauthorized",
  "throttled",
  "server",
  "network",
  "timeout",
  "unknown_outcome",
]);
