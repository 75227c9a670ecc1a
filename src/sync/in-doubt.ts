/**
 * A create in doubt: it was sent, and its answer never came (a timeout, a lost connection, a crash). Before it goes out again, it is
 * parked for a person, sent again, or looked up, as CUSTOMER_API_UNKNOWN_OUTCOME says:
 *
 *     looked up ──one, with the very account number──▶ adopted: its ids are journaled as the answer to this create
 *        │  │ └───not there, and time enough─────────▶ sent again with the same body and key
 *        │  └─────not there, but sent just now───────▶ looked up again when the API cannot be working on it any more
 *        ├────────several, another's, unclear────────▶ parked
 *        └────────no answer──────────────────────────▶ looked up again; nothing is sent meanwhile
 *
 * A person's retry overrides what a lookup could not tell, but not a customer that it found; and a retry, too, waits until the API cannot
 * be working on the first one any more. The limits of this are in docs/adr/0012-look-a-create-up-before-it-is-sent-again.md.
 */
import type { ApiConnection } from "../customer-api/customer-api.ts";
import type { CustomerCommand } from "../customer-command/command.ts";
import { matchIds } from "../customer-command/match-ids.ts";
import { afterFailure, notSentYet, parkUnknownOutcome, waitForTheFirst } from "./endings.ts";
import type { UnsettledAttempt } from "./journal.ts";
import { end, LEASE_LOST, type Step } from "./step.ts";
import type { SyncContext } from "./sync-context.ts";

/** What becomes of an unsettled send: sent again at once where it is not in doubt. */
export async function resolveInDoubt(
  sync: SyncContext,
  connection: ApiConnection,
  unsettled: UnsettledAttempt,
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
      return await lookUp(sync, connection, unsettled);
    default:
      return wiring.policy.unknownOutcome satisfies never;
  }
}

async function lookUp(
  sync: SyncContext,
  connection: ApiConnection,
  create: UnsettledAttempt,
): Promise<Step> {
  const { wiring, claim, lease } = sync;
  // A request like any other: it waits for its turn, and is never sent beside another one for this account.
  const turn = await wiring.waitForTurn(connection.baseUrl, lease.signal);
  if (turn.kind === "stopped") return LEASE_LOST;
  if (turn.kind === "asked to wait") {
    wiring.api.startWait(connection, turn.forMs);
    return end({
      ...notSentYet(claim, create.sent, turn.forMs),
      attempt: create,
      delivery: "unknown",
      settlesAttempt: false,
    });
  }
  if (!(await wiring.isStillOurs(claim, sync.dbSignal))) return LEASE_LOST;

  const command = JSON.parse(create.body) as CustomerCommand;
  const result = await wiring.api.lookUp(connection, {
    accountId: create.sent.accountId,
    // As it was sent: the row may have another number by now.
    accountNo: command.branch.code,
    referenceField: wiring.mapping.referenceField,
    body: create.body,
    idempotencyKey: create.idempotencyKey,
    mayBegin: () => lease.isHeld(),
    signal: lease.signal,
  });
  if (result.kind === "failed") {
    const attempt = { ...create, claim, supersedes: null, repeatsUnknown: true };
    const ending = afterFailure(wiring.policy, claim, attempt, result.failure);
    return end({ ...ending, generation: claim.generation });
  }

  const leaveToAPerson = (reason: string): Step =>
    claim.retry
      ? repeatOnceAlone(sync, connection, create)
      : end({ ...parkUnknownOutcome(create, reason), httpStatus: result.httpStatus });
  const { found, httpStatus } = result;
  switch (found.kind) {
    case "unclear":
      return leaveToAPerson(found.reason);
    case "none":
      return repeatOnceAlone(sync, connection, create);
    case "one": {
      const received = {
        ...matchIds(found.answer, command, create.sent, {
          referenceField: wiring.mapping.referenceField,
          answers: "a lookup",
        }),
        adopted: true,
      };
      if (received.customer === null)
        return leaveToAPerson("The lookup found the customer, but no id that can be used");
      const { takenBy } = await wiring.adopt(
        { attemptId: create.attemptId, accountId: claim.accountId, received, httpStatus },
        sync.dbSignal,
      );
      return takenBy === null
        ? { kind: "write back", attempt: create, received, httpStatus }
        : leaveToAPerson(
            `The lookup found a customer whose id account ${takenBy} has: two accounts with one number`,
          );
    }
    default:
      return found satisfies never;
  }
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
  const waitMs = sync.wiring.policy.applyingMaxMs - create.sentMsAgo;
  return waitMs <= 0
    ? repeat(sync, connection, create)
    : end(waitForTheFirst(sync.claim, create, waitMs));
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
