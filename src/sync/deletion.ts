/**
 * The account was removed, and its customer is to be removed at the API, too (`ON_ACCOUNT_DELETE=delete`): which customer that is.
 *
 *     an earlier delete is not finished ──────────▶ the same again, unless it is given up; a customer that is not there any more counts as
 *                                                   removed
 *     a create was answered, and never written ───▶ the customer that it made
 *     a create was not answered ──looked up───────▶ the customer that is found; without a lookup it is not known
 *     else the id that the row had, or that is mapped ──▶ that customer, unless another account has its id
 *
 * Nothing is created or changed for an account that is gone.
 */
import type { ApiConnection } from "../customer-api/customer-api.ts";
import type { Ending } from "./conclusion.ts";
import { accountGone, withoutConnection } from "./endings.ts";
import { connectHome } from "./home.ts";
import { resolveInDoubt } from "./in-doubt.ts";
import type { Send, UnsettledAttempt } from "./journal.ts";
import type { Loaded } from "./load-for-sync.ts";
import { end, type Step } from "./step.ts";
import type { SyncContext } from "./sync-context.ts";
import { homeOf } from "./unsettled.ts";

/** null when the account is there, nothing is to be deleted, or the API has no customer of it that is known. */
export async function finishDeletion(
  sync: SyncContext,
  { account, tooLarge, unsettled, mapping }: Loaded,
): Promise<Step | null> {
  const { wiring, claim } = sync;
  const isRemoved = account === null && tooLarge === null;
  if (!isRemoved || wiring.policy.onAccountDelete !== "delete") return null;

  const isRepeat = unsettled?.operation === "delete";
  if (isRepeat && claim.discard) return end(discardDeletion(unsettled));

  const home =
    unsettled === null
      ? (mapping.home ?? (await wiring.lastHome(claim.accountId)))
      : homeOf(unsettled);
  const connection =
    home === null ? await wiring.connection(claim.configId) : await connectHome(sync, home);
  if ("error" in connection)
    return end(withoutConnection(wiring.policy, claim, null, connection.error));
  const sendDelete = (externalId: string | null): Step => ({
    kind: "send",
    connection,
    isRepeat,
    send: toDelete(sync, connection, unsettled, externalId),
  });
  if (isRepeat) return sendDelete(unsettled.sent.externalId);

  const externalId =
    unsettled?.received?.customer ?? filled(claim.removedExternalId) ?? mapping.externalId;
  if (externalId === null) {
    if (unsettled === null || !isLookedUp(sync, unsettled)) return null;
    const step = await resolveInDoubt(sync, connection, unsettled, null);
    // Nothing is created for it: a customer that is not there need not be removed.
    return step.kind === "send" ? null : step;
  }

  const { configId } = connection;
  const owner = await wiring.ownerOf({ externalId, accountId: claim.accountId, configId });
  if (owner !== null) return end({ ...accountGone(unsettled), error: describeIdOwner(owner) });
  return sendDelete(externalId);
}

function isLookedUp({ wiring }: SyncContext, unsettled: UnsettledAttempt): boolean {
  return (
    unsettled.operation === "create" &&
    unsettled.delivery !== "not_applied" &&
    wiring.policy.unknownOutcome === "lookup"
  );
}

function toDelete(
  { wiring, claim }: SyncContext,
  { configId }: ApiConnection,
  unsettled: UnsettledAttempt | null,
  externalId: string | null,
): Send {
  const repeats = unsettled?.operation === "delete" ? unsettled : null;
  return {
    claim,
    generation: claim.generation,
    operation: "delete",
    idempotencyKey: repeats?.idempotencyKey ?? crypto.randomUUID(),
    userId: claim.userId ?? wiring.policy.defaultUserId,
    configId,
    body: "",
    sent: {
      accountId: claim.accountId,
      externalId,
      branchExternalId: null,
      tiers: [],
      pics: [],
    },
    fingerprint: "",
    fieldFingerprints: null,
    warnings: 0,
    supersedes: unsettled?.attemptId ?? null,
    repeatsUnknown: repeats !== null && repeats.delivery !== "not_applied",
  };
}

function discardDeletion(deleting: UnsettledAttempt): Ending {
  return {
    name: "gone",
    supersedes: deleting.attemptId,
    error:
      "The unfinished delete was given up, as was asked for: the customer stays at the API, unless it was deleted all the same.",
  };
}

function describeIdOwner(accountId: string): string {
  return `The account was removed; its customer was kept, since account ${accountId} has the same external id.`;
}

/** Applications write a blank id where they mean none. */
function filled(externalId: string | null): string | null {
  return externalId === null || externalId.trim() === "" ? null : externalId;
}
