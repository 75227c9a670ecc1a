/** An earlier send that is not settled is finished before anything new goes out. */
import type { Account } from "../account/account.ts";
import type { Home } from "../account/mapped-ids.ts";
import { hasAllIds } from "../customer-command/command.ts";
import { isSameId } from "../same-id.ts";
import { withoutConnection } from "./endings.ts";
import { connectHome } from "./home.ts";
import { discardOnceAlone, resolveInDoubt } from "./in-doubt.ts";
import type { UnsettledAttempt } from "./journal.ts";
import type { Loaded } from "./load-for-sync.ts";
import { end, type Step } from "./step.ts";
import type { SyncContext } from "./sync-context.ts";

/** null when there is none, or newer data may replace it. */
export async function finishUnsettled(
  sync: SyncContext,
  { account, unsettled }: Loaded,
): Promise<Step | null> {
  if (unsettled === null) return null;
  if (unsettled.delivery === "answered" && unsettled.received !== null) {
    const { received } = unsettled;
    return { kind: "write back", attempt: unsettled, received, httpStatus: null };
  }
  if (account === null || !mustBeRepeated(unsettled, account)) return null;

  const { wiring, claim } = sync;
  if (claim.discard) return discardOnceAlone(sync, unsettled);

  // A repeat goes where the first try went, whatever is asked for now: only that API knows its key.
  const connection = await connectHome(sync, homeOf(unsettled));
  if ("error" in connection)
    return end(withoutConnection(wiring.policy, claim, account, connection.error));
  return await resolveInDoubt(sync, connection, unsettled, account);
}

/** Where it was sent to. */
export function homeOf({ configId, sent }: UnsettledAttempt): Home {
  return sent.sentTo ?? { configId, apiUrl: null };
}

/**
 * A send that may have been applied, or is a create, goes out again as it was before anything newer does. An update that only changes
 * values may be overtaken by a newer one; one that adds tiers or PICs may not, or they could be added twice.
 */
function mustBeRepeated(unsettled: UnsettledAttempt, account: Account): boolean {
  switch (unsettled.operation) {
    case "create":
      // With an external id, set by a person meanwhile, the account is an update from here on.
      return account.externalId === null;
    case "update":
      return (
        unsettled.delivery !== "not_applied" &&
        !hasAllIds(unsettled.sent) &&
        isSameId(unsettled.sent.externalId, account.externalId)
      );
    case "delete":
      return false;
    default:
      return unsettled.operation satisfies never;
  }
}
