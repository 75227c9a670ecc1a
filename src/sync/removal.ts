/**
 * An account that was removed, where its customer is to be removed at the API, too (`ON_ACCOUNT_DELETE=delete`): which customer that is.
 *
 *     a delete of before is not finished ─────────▶ the same again; whoever is not there any more counts as removed
 *     a create was answered, and never written ───▶ the customer that it made
 *     a create was not answered ──looked for──────▶ the customer that is found; without a lookup nobody knows
 *     else the id that the trigger captured ──────▶ that customer, unless another account has its id
 *
 * Nothing is created or changed for an account that is gone.
 */
import type { ApiConnection } from "../customer-api/customer-api.ts";
import type { Lease } from "../queue/lease.ts";
import type { Claim } from "../queue/queue.ts";
import type { Send, UnsettledAttempt } from "./attempt.ts";
import { resolveDoubt } from "./doubt.ts";
import { type Ending, gone, idOfAnother } from "./endings.ts";
import type { SyncParts } from "./sync-parts.ts";

export type Removal =
  | { readonly kind: "delete"; readonly send: Send }
  /** The API has no customer of it that anybody knows of. */
  | { readonly kind: "nothing" }
  | { readonly kind: "ended"; readonly ending: Ending }
  | { readonly kind: "lease lost" };

export async function planRemoval(
  parts: SyncParts,
  claim: Claim,
  connection: ApiConnection,
  unsettled: UnsettledAttempt | null,
  lease: Lease,
): Promise<Removal> {
  if (unsettled?.operation === "delete")
    return remove(parts, claim, unsettled, unsettled.sent.externalId);

  let externalId = unsettled?.received?.customer ?? filled(claim.removedExternalId);
  if (externalId === null && unsettled !== null && mayHaveMadeCustomer(unsettled, parts)) {
    const doubt = await resolveDoubt(parts, claim, connection, unsettled, lease);
    if (doubt.kind === "ended" || doubt.kind === "lease lost") return doubt;
    if (doubt.kind === "found") externalId = doubt.received.customer;
  }
  if (externalId === null) return { kind: "nothing" };

  const owner = await parts.ownerOf(externalId, claim.accountId);
  if (owner !== null)
    return { kind: "ended", ending: { ...gone(unsettled), error: idOfAnother(owner) } };
  return remove(parts, claim, unsettled, externalId);
}

function mayHaveMadeCustomer(unsettled: UnsettledAttempt, { policy }: SyncParts): boolean {
  return (
    unsettled.operation === "create" &&
    unsettled.delivery !== "not_applied" &&
    policy.unknownOutcome === "lookup"
  );
}

function remove(
  { policy }: Pick<SyncParts, "policy">,
  claim: Claim,
  unsettled: UnsettledAttempt | null,
  externalId: string | null,
): Removal {
  const repeats = unsettled?.operation === "delete" ? unsettled : null;
  return {
    kind: "delete",
    send: {
      claim,
      generation: claim.generation,
      operation: "delete",
      idempotencyKey: repeats?.idempotencyKey ?? crypto.randomUUID(),
      userId: claim.userId ?? policy.defaultUserId,
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
    },
  };
}

/** A blank one is an application's way of saying none. */
function filled(externalId: string | null): string | null {
  return externalId === null || externalId.trim() === "" ? null : externalId;
}
