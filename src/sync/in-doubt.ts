/**
 * A create in doubt: it was sent, and its answer never came (a timeout, a lost connection, a crash). Before it goes out again, it is
 * parked for a person, sent again, or looked up, as CUSTOMER_API_UNKNOWN_OUTCOME says:
 *
 *     looked up ──one, with the very account number──▶ adopted: its ids are mapped to the account, and an update follows
 *        │  │ ├───not there, the data are the same───▶ sent again with the same body and key
 *        │  │ └───not there, the data have changed───▶ given up: current data go out, as the next create
 *        │  └─────not there, but sent just now───────▶ looked up again when the API cannot be working on it any more
 *        ├────────several, another's, unclear────────▶ parked
 *        └────────no answer──────────────────────────▶ looked up again; nothing is sent meanwhile
 *
 * A person's retry overrides what a lookup could not tell, but not a customer that it found; and a retry, too, waits until the API cannot
 * be working on the first one any more. The limits of this are in docs/adr/0012-look-a-create-up-before-it-is-sent-again.md.
 */
import type { Account } from "../account/account.ts";
import type { ApiConnection } from "../customer-api/customer-api.ts";
import { fingerprintOf } from "../customer-command/fingerprint.ts";
import { toCommand } from "../customer-command/transform.ts";
import {
  afterFailure,
  customerAdopted,
  discardUnsettled,
  notSentYet,
  parkUnknownOutcome,
  waitForTheFirst,
} from "./endings.ts";
import type { UnsettledAttempt } from "./journal.ts";
import { lookUpCustomer } from "./look-up-customer.ts";
import type { SyncPolicy } from "./policy.ts";
import { end, type Step } from "./step.ts";
import type { SyncContext } from "./sync-context.ts";

/**
 * What becomes of an unsettled send: sent again at once where it is not in doubt.
 *
 * @param account as it would be sent now; null when it was removed
 */
export async function resolveInDoubt(
  sync: SyncContext,
  connection: ApiConnection,
  unsettled: UnsettledAttempt,
  account: Account | null,
): Promise<Step> {
  const { wiring, claim } = sync;
  if (unsettled.operation !== "create" || unsettled.delivery === "not_applied")
    return repeat(sync, connection, unsettled);
  // A crash came before the result, so it has not been reported yet.
  if (unsettled.delivery === "sending") wiring.observe.unknownOutcome(claim.accountId);

  switch (wiring.policy.unknownOutcome) {
    case "resend":
      return repeat(sync, connection, unsettled);
    case "park":
      return claim.retry
        ? repeatOnceAlone(sync, connection, unsettled)
        : end(parkUnknownOutcome(unsettled));
    case "lookup":
      return await lookUp(sync, connection, unsettled, account);
    default:
      return wiring.policy.unknownOutcome satisfies never;
  }
}

async function lookUp(
  sync: SyncContext,
  connection: ApiConnection,
  create: UnsettledAttempt,
  account: Account | null,
): Promise<Step> {
  const { wiring, claim } = sync;
  const lookedUp = await lookUpCustomer(sync, connection, create);
  switch (lookedUp.kind) {
    case "adopted":
      return end(customerAdopted(create));
    case "none":
      return account === null || isSameData(sync, create, account)
        ? repeatOnceAlone(sync, connection, create)
        : discardOnceAlone(sync, create);
    case "unclear":
      return claim.retry
        ? repeatOnceAlone(sync, connection, create)
        : end(parkUnknownOutcome(create, lookedUp.reason));
    case "failed": {
      const attempt = { ...create, claim, supersedes: null, repeatsUnknown: true };
      // The failure is the lookup's, and no try of the create; nor is its status an answer to the create.
      const failure = { ...lookedUp.failure, isAboutSend: false };
      const ending = afterFailure(wiring.policy, claim, attempt, failure);
      return end({ ...ending, generation: claim.generation, httpStatus: null });
    }
    case "asked to wait":
      return end({
        ...notSentYet(claim, create.sent, lookedUp.forMs),
        attempt: create,
        delivery: "unknown",
        settlesAttempt: false,
      });
    case "lease lost":
      return lookedUp;
    default:
      return lookedUp satisfies never;
  }
}

/** While the data are the same, the same create has the same key, should the lookup have missed its customer. */
function isSameData(
  { wiring }: SyncContext,
  { fingerprint }: UnsettledAttempt,
  account: Account,
): boolean {
  return fingerprintOf(toCommand(account, wiring.mapping).command) === fingerprint;
}

/**
 * Not beside the first one. Its sender may still wait for the answer (it lost the database, not the API), and an API may still be working
 * on a request that no client waits for; a lookup that found nothing may have come too soon.
 */
function repeatOnceAlone(
  sync: SyncContext,
  connection: ApiConnection,
  create: UnsettledAttempt,
): Step {
  const waitMs = leftUnderWayMs(sync.wiring.policy, create);
  return waitMs <= 0
    ? repeat(sync, connection, create)
    : end(waitForTheFirst(sync.claim, create, waitMs));
}

/** Given up as not applied, once the API cannot be working on it any more. */
export function discardOnceAlone(
  { wiring, claim }: SyncContext,
  unsettled: UnsettledAttempt,
): Step {
  const waitMs = leftUnderWayMs(wiring.policy, unsettled);
  return end(
    waitMs <= 0
      ? discardUnsettled(
          unsettled,
          claim.discard ? "as was asked for" : "as a lookup did not find it",
        )
      : waitForTheFirst(claim, unsettled, waitMs),
  );
}

/** How long a send may still be under way at the API, in milliseconds. */
function leftUnderWayMs(policy: SyncPolicy, { httpStatus, sentMsAgo }: UnsettledAttempt): number {
  return httpStatus !== null && isAnswerOfApi(httpStatus) ? 0 : policy.applyingMaxMs - sentMsAgo;
}

/** By any other status a gateway may have answered for an API that goes on: 500 and 520 to 527 are in use for that as 502 and 504 are. */
function isAnswerOfApi(httpStatus: number): boolean {
  return httpStatus < 500 && httpStatus !== 408 && httpStatus !== 499;
}

/** The same body under the same key. */
function repeat(
  { claim }: SyncContext,
  connection: ApiConnection,
  unsettled: UnsettledAttempt,
): Step {
  return {
    kind: "send",
    connection,
    isRepeat: true,
    send: {
      ...unsettled,
      claim,
      supersedes: unsettled.attemptId,
      repeatsUnknown: unsettled.delivery !== "not_applied",
    },
  };
}
