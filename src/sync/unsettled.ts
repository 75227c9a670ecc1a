/** An earlier send that is not settled is finished before anything new goes out. */
import type { Account } from "../account/account.ts";
import type { Home } from "../account/mapped-ids.ts";
import { isSameId } from "../same-id.ts";
import { holdsNewerBack } from "./choice.ts";
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
    return {
      kind: "write back",
      attempt: unsettled,
      received,
      httpStatus: null,
      isJournaled: true,
    };
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

/** With another external id, set by a person meanwhile, the account is an update of that customer from here on. */
function mustBeRepeated(unsettled: UnsettledAttempt, account: Account): boolean {
  return holdsNewerBack(unsettled) && isSameId(unsettled.sent.externalId, account.externalId);
}
