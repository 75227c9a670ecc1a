/** Writes ids that a caller has: one row's, those of an API's answer, or those that an earlier result says are missing. */

import { canonicalId } from "../account/canonical-ids.ts";
import { loadAccounts } from "../account/load.ts";
import { readAnswer } from "../customer-api/answer.ts";
import type { SentRow, SentRows } from "../customer-command/command.ts";
import { matchIds, type ReceivedIds } from "../customer-command/match-ids.ts";
import { toIdText } from "../exact-json.ts";
import type { AccountData } from "./account-data.ts";
import type { LibraryContext } from "./context.ts";
import type { IdUpdate, UpdateResult } from "./contract.ts";
import { toDatabaseError, toDatabaseReason } from "./database-error.ts";
import { failedUpdatesOf, receivedOf } from "./failed-updates.ts";
import { finishSend } from "./finish-send.ts";
import { makeReady } from "./make-ready.ts";
import {
  errorOf,
  nothingWritten,
  reportWritten,
  toFailedUpdates,
  toProcessingResult,
} from "./processing-result.ts";
import type { ProcessingResult } from "./results.ts";
import { readRow, writeIds } from "./write-ids.ts";

/** Never rejects. */
export async function updateId(
  { wiring, userOf }: LibraryContext,
  type: "customer" | "tier" | "crew",
  id: string | number,
  { uuid_be, updated_by, replace = false }: IdUpdate,
): Promise<UpdateResult> {
  const rowId = toIdText(id);
  const uuidBe = toIdText(uuid_be)?.trim() ?? String(uuid_be);
  const end = (error: string | null): UpdateResult => ({
    success: error === null,
    id: rowId ?? String(id),
    uuidBe,
    updatedAt: new Date().toISOString(),
    ...(error === null ? {} : { error }),
  });
  if (rowId === null || toIdText(uuid_be) === null)
    return end("id and uuid_be must be a text or a whole number below 2^53");
  if (uuidBe === "" || uuidBe.length > 255) return end("uuid_be must have 1 to 255 characters");
  try {
    const row = await readRow(wiring.db, type, rowId);
    if (row === null) return end("there is no such row");

    // As the database writes it: a caller may have a GUID in another letter case.
    const [child] = [...row.sent.tiers, ...row.sent.pics];
    const rows = await writeIds(wiring.db, {
      sent: row.sent,
      received: receivedOf([{ type, id: child?.id ?? row.sent.accountId, uuidBe }]),
      userId: userOf(updated_by),
      replace,
    });
    return end("error" in rows ? rows.error : (rows.map(errorOf)[0] ?? null));
  } catch (error) {
    return end(toDatabaseError(error));
  }
}

/** The ids of an answer that the caller got from the API by itself. */
export async function processResponse(
  context: LibraryContext,
  response: unknown,
  accountData: AccountData,
  userId: string | null,
): Promise<ProcessingResult> {
  const ready = await makeReady(context, accountData, userId);
  if (ready.kind === "not ready") return nothingWritten(ready.result.error);
  const answer = readAnswer(response);
  if (answer === null) return nothingWritten("The response has none of the sections of an answer");
  if (answer.refusal !== null) return nothingWritten(`The API refused: ${answer.refusal}`);

  const { command, sent } = ready;
  const received = matchIds(answer, command, sent, {
    referenceField: context.wiring.mapping.referenceField,
    answers: "the command",
  });
  return await write(context, sent, received, userId);
}

/** Writes the ids that `processingResult` says came and do not stand, and settles the send that they came for. */
export async function retryFailedUpdates(
  context: LibraryContext,
  processingResult: ProcessingResult,
  { id }: Pick<AccountData, "id">,
  userId: string | null,
): Promise<ProcessingResult> {
  const failed = failedUpdatesOf(processingResult);
  if (failed.length === 0 && !processingResult.success)
    return nothingWritten("No id came that could be written: sync the account again");
  const received = receivedOf(failed);
  const { wiring, userOf } = context;
  const { db } = wiring;
  try {
    const accountId = await canonicalId(db, String(id));
    const [loaded] = await loadAccounts(db, [accountId]);
    const account = loaded?.account ?? null;
    if (account === null) return nothingWritten("There is no such account");

    // Each among its own: where keys are numbers, a tier and a contact person may have the same.
    const asTheyStand = (wanted: readonly { id: string }[], rows: readonly SentRow[]) => {
      const idOf = new Map(rows.map((row) => [row.id, row.externalId]));
      return wanted.map((row) => ({ id: row.id, externalId: idOf.get(row.id) ?? null }));
    };
    const sent: SentRows = {
      accountId: account.id,
      externalId: account.externalId,
      branchExternalId: account.branchExternalId,
      tiers: asTheyStand(received.tiers, account.tiers),
      pics: asTheyStand(received.pics, account.pics),
    };
    const idempotencyKey = failed.find((update) => update.idempotencyKey)?.idempotencyKey ?? null;
    if (failed.length > 0)
      await finishSend(wiring, { accountId, received, idempotencyKey, userId: userOf(userId) });
    // Those that stand by now are found to stand; the others are written without the send.
    return await write(context, sent, received, userId);
  } catch (error) {
    return nothingWritten(toDatabaseReason(error), failed);
  }
}

async function write(
  { wiring, userOf }: LibraryContext,
  sent: SentRows,
  received: ReceivedIds,
  userId: string | null,
): Promise<ProcessingResult> {
  const rows = await writeIds(wiring.db, {
    sent,
    received,
    userId: userOf(userId),
    replace: false,
  });
  if ("error" in rows) return nothingWritten(rows.error, toFailedUpdates(sent, received));
  const isAboutCustomer = received.customer !== null || received.branch !== null;
  const report = reportWritten({ sent, received, rows, isAboutCustomer }, new Date().toISOString());
  return toProcessingResult(report);
}
