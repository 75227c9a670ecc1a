/** `syncCustomerToExternalApi`: from what is handed in to what the caller is told. */

import { isSameId } from "../same-id.ts";
import { recordUnsent } from "../sync/journal.ts";
import { boundedText } from "../sync/outcome.ts";
import type { AccountData } from "./account-data.ts";
import type { CallResult } from "./call-sync.ts";
import type { LibraryContext } from "./context.ts";
import { logAnswer } from "./log-steps.ts";
import { makeReady } from "./make-ready.ts";
import { notValid, toValidation } from "./not-valid.ts";
import type { SyncResult } from "./results.ts";
import { toSyncResult } from "./to-sync-result.ts";

export async function syncCustomer(
  context: LibraryContext,
  accountData: AccountData,
  {
    configId,
    userId,
    accountId,
  }: {
    readonly configId: string | null;
    readonly userId: string | null;
    /** An account under which the attempt stands in the history, too. */
    readonly accountId: string | number | null;
  },
): Promise<SyncResult> {
  const { calls, language, userOf, observe } = context;
  observe.info("starting the sync of an account", { account_id: idOf(accountData) });
  const ready = await makeReady(context, accountData, userId);
  if (ready.kind === "not ready") return ready.result;
  const { given, command, validation } = ready;
  if (!validation.isValid) return notValid(language, validation, command);
  if (configId !== null) {
    const message = await reasonAgainst(context, configId);
    if (message !== null) {
      const error = { field: "configId", rule: "unusable", message };
      return notValid(language, toValidation([error]), command);
    }
  }

  const called = await calls.sync({ account: given, userId: userOf(userId), configId });
  const result = toSyncResult(called, command, language);
  if (result.success) logAnswer(observe, given.id, called, result.processingResult);
  if (accountId !== null && !isSameId(String(accountId), given.id))
    await noteInHistory(context, String(accountId), called, result);
  return result;
}

/** Of whatever was handed in. */
function idOf(accountData: Partial<AccountData> | null | undefined): string | null {
  const id = accountData?.id;
  return typeof id === "object" || id === undefined ? null : String(id).slice(0, ID_LOGGED_MAX);
}

const ID_LOGGED_MAX = 100;

/** Why nothing can be sent to this configuration; null when it can, and where only the sync will tell. */
async function reasonAgainst({ wiring }: LibraryContext, configId: string): Promise<string | null> {
  const connection = await wiring.connections.of(configId).catch(() => null);
  return connection !== null && "error" in connection ? connection.error : null;
}

/** The same attempt, under the account that the caller named for the history. */
async function noteInHistory(
  { wiring }: LibraryContext,
  accountId: string,
  { outcome }: CallResult,
  result: SyncResult,
): Promise<void> {
  await recordUnsent(wiring.db, [
    {
      accountId,
      generation: "0",
      trigger: "manual",
      outcome: outcome?.name ?? "retry",
      errorClass: outcome?.errorClass ?? null,
      error: result.success ? null : boundedText(result.error),
      updated: outcome?.updated ?? { account: 0, tier: 0, pic: 0 },
      failed: { account: result.success ? 0 : 1, tier: 0, pic: 0 },
      durationMs: 0,
      warnings: 0,
    },
  ])
    // The sync is done, and its result is what the caller asked for.
    .catch(() => {});
}
