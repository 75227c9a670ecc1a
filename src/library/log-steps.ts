/** Logs what came of an answer, step by step: for who follows a call in the application's log. Ids and numbers only. */
import type { Observe } from "../ops/observe.ts";
import type { CallResult } from "./call-sync.ts";
import type { ProcessingResult, RowsRecord } from "./results.ts";

export function logAnswer(
  observe: Pick<Observe, "info">,
  accountId: string,
  { received, sent }: Pick<CallResult, "received" | "sent">,
  { updatedRecords, errors, summary }: ProcessingResult,
): void {
  if (received === null || sent === null) return;
  const say = (message: string, fields: object = {}) =>
    observe.info(message, { account_id: accountId, ...fields });

  say("processing the answer for the database");
  const customerId = received.customer ?? received.branch;
  if (customerId !== null) say("customer id received", { external_id: customerId });
  if (updatedRecords.some(({ type }) => type === "customer"))
    say("customer updated", { external_id: customerId ?? sent.externalId });
  for (const [type, rows, ids] of [
    ["tier", sent.tiers, received.tiers],
    ["crew", sent.pics, received.pics],
  ] as const) {
    if (rows.length === 0) continue;
    const plural = type === "tier" ? "tiers" : "crew";
    const record = updatedRecords.find((one): one is RowsRecord => one.type === type);
    const successful = record?.updatedCount ?? 0;
    say(`${plural} received`, { received: ids.length });
    say(`${plural} updated`, { total: rows.length, successful, failed: rows.length - successful });
  }
  say("database updates completed", { ...summary, ...(errors.length > 0 && { errors }) });
}
