/** The ids that a result reports as not written: taken from the result, and in the form that `writeIds` takes. */
import type { ReceivedIds } from "../customer-command/match-ids.ts";
import type { FailedUpdate, ProcessingResult } from "./results.ts";

/** Works for a result that went through JSON, too; from one without `failedUpdates` they are collected. */
export function failedUpdatesOf(result: ProcessingResult): readonly FailedUpdate[] {
  if (result.failedUpdates !== undefined) return result.failedUpdates;
  return result.updatedRecords.flatMap((record): FailedUpdate[] => {
    if (record.success) return [];
    if (record.type === "customer") {
      return record.uuidBe === null
        ? []
        : [{ type: "customer", id: record.accountId, uuidBe: record.uuidBe }];
    }
    return record.details.flatMap((detail): FailedUpdate[] => {
      if (detail.success || detail.uuidBe === null) return [];
      const id = "tierId" in detail ? detail.tierId : detail.picId;
      return [{ type: record.type, id, uuidBe: detail.uuidBe }];
    });
  });
}

export function receivedOf(updates: readonly FailedUpdate[]): ReceivedIds {
  const idsOf = (type: FailedUpdate["type"]) =>
    updates
      .filter((update) => update.type === type)
      .map(({ id, uuidBe }) => ({ id, externalId: uuidBe }));
  return {
    customer: idsOf("customer")[0]?.externalId ?? null,
    branch: idsOf("branch")[0]?.externalId ?? null,
    tiers: idsOf("tier"),
    pics: idsOf("crew"),
    problems: [],
  };
}
