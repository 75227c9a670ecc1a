/**
 * The account was removed, and its customer is to be removed at the API, too (`ON_ACCOUNT_DELETE=delete`): which customer that is.
 *
 *     an earlier delete is not finished ──────────▶ the same again; a customer that is not there any more counts as removed
 *     a create was answered, and never written ───▶ the customer that it made
 *     a create was not answered ──looked up───────▶ the customer that is found; without a lookup it is not known
 *     else the id that the trigger captured ──────▶ that customer, unless another account has its id
 *
 * Nothing is created or changed for an account that is gone.
 */
import { accountGone, describeIdOwner, withoutConnection } from "./endings.ts";
import { resolveInDoubt } from "./in-doubt.ts";
import type { Send, UnsettledAttempt } from "./journal.ts";
import type { Loaded } from "./load-for-sync.ts";
import { end, type Step } from "./step.ts";
import type { SyncContext } from "./sync-context.ts";

/** null when the account is there, nothing is to be deleted, or the API has no customer of it that is known. */
export async function finishDeletion(
  sync: SyncContext,
  { account, tooLarge, unsettled }: Loaded,
): Promise<Step | null> {
  const { wiring, claim } = sync;
  const isRemoved = account === null && tooLarge === null;
  if (!isRemoved || wiring.policy.onAccountDelete !== "delete") return null;

  const connection = await wiring.connection(
    unsettled === null ? claim.configId : unsettled.configId,
  );
  if ("error" in connection)
    return end(withoutConnection(wiring.policy, claim, null, connection.error));
  const isRepeat = unsettled?.operation === "delete";
  const sendDelete = (externalId: string | null): Step => ({
    kind: "send",
    connection,
    isRepeat,
    send: toDelete(sync, unsettled, externalId),
  });
  if (isRepeat) return sendDelete(unsettled.sent.externalId);

  let externalId = unsettled?.received?.customer ?? filled(claim.removedExternalId);
  if (externalId === null && unsettled !== null && isLookedUp(sync, unsettled)) {
    const step = await resolveInDoubt(sync, connection, unsettled);
    if (step.kind === "end" || step.kind === "lease lost") return step;
    if (step.kind === "write back") externalId = step.received.customer;
  }
  if (externalId === null) return null;

  const owner = await wiring.ownerOf(externalId, claim.accountId);
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
    configId: repeats === null ? claim.configId : repeats.configId,
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

/** Applications write a blank id where they mean none. */
function filled(externalId: string | null): string | null {
  return externalId === null || externalId.trim() === "" ? null : externalId;
}
