/**
 * Reads results as callers of the predecessor do, in TypeScript and without a cast: that it compiles is the test (test/e2e/library-types.test.ts).
 */
import type { AccountSync, DebugResult, SyncResult } from "../../src/index.ts";

type Any = SyncResult | DebugResult;

/** What a caller does around the call, whichever result it gets. */
export function read(result: Any) {
  const isWritten = result.processingResult?.success;
  const isValid = result.validationResult?.isValid;
  const error = result.error;
  const tiers = result.processingResult?.updatedRecords.find((record) => record.type === "tier");
  const firstTier = tiers?.details[0]?.tierId;
  const errors: string[] = [];
  for (const each of result.processingResult?.errors ?? []) errors.push(each);
  return {
    isWritten,
    isValid,
    error,
    firstTier,
    errors,
    updatedCount: tiers?.updatedCount,
    totalErrors: result.processingResult?.summary.totalErrors,
    code: "details" in result ? result.details["code"] : undefined,
    httpStatus: "details" in result ? result.details.httpStatus : undefined,
  };
}

/** By `success` and `mode` it is known which result it is. */
export function narrow(result: Any): string {
  if (result.mode === "debug") return result.summary.customerName;
  if (result.success)
    return result.customerData.customer.name + result.processingResult.errors.length;
  if (result.validationResult !== undefined) return result.validationResult.errors[0]?.field ?? "";
  if ("details" in result) return result.details.errorClass;
  return result.error;
}

/** The last argument says whether it is the debug result. */
export async function call({ syncCustomerToExternalApi: sync }: AccountSync, debugMode: boolean) {
  const data = { id: 1, name: "Toko", package_tiers: [{ id: 2, min_value: 0 }], pics: [] };
  const sent: SyncResult = await sync(data, null, "siti", "7", false);
  const debugged: DebugResult = await sync(data, null, "siti", "7", true);
  const either: Any = await sync(data, null, "siti", "7", debugMode);
  // @ts-expect-error a result that was sent has no summary
  if (sent.summary !== undefined) return [];
  return [sent, debugged, either];
}
