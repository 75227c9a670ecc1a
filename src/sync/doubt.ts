/**
 * A create that may have happened, before it goes out again: it is left to a human, sent again, or looked for.
 *
 *     looked for ──one, the very account number──▶ adopted: its ids are journaled as the answer to this create
 *        │  │ └────not there, and time enough────▶ the same body and key again
 *        │  └──────not there, but sent just now──▶ looked for again when the API cannot be at it any more
 *        ├─────────several, another's, unclear───▶ a human
 *        └─────────no answer─────────────────────▶ looked for again; nothing is sent meanwhile
 *
 * A person's word counts for more than what a lookup could not tell, and for less than a customer it found; and it waits, too, until the
 * API cannot be at it any more. The limits of it are in docs/adr/0012-look-a-create-up-before-it-is-sent-again.md.
 */
import type { ApiConnection, CustomerApi } from "../customer-api/customer-api.ts";
import type { CustomerCommand } from "../customer-command/command.ts";
import { matchIds, type ReceivedIds } from "../customer-command/match-ids.ts";
import type { Lease } from "../queue/lease.ts";
import type { Claim } from "../queue/queue.ts";
import type { UnsettledAttempt } from "./attempt.ts";
import {
  afterFailure,
  type Ending,
  notSentYet,
  parkUnknownOutcome,
  waitForTheFirst,
} from "./endings.ts";
import type { SyncParts } from "./sync-parts.ts";

export type Doubt =
  | { readonly kind: "send" }
  | { readonly kind: "found"; readonly received: ReceivedIds; readonly httpStatus: number | null }
  | { readonly kind: "ended"; readonly ending: Ending }
  | { readonly kind: "lease lost" };

type DoubtParts = Pick<
  SyncParts,
  "place" | "isStillOurs" | "adopt" | "observe" | "mapping" | "policy"
> & { readonly api: Pick<CustomerApi, "lookUp" | "hold"> };

/** Whether the unsettled send goes out again now; at once where there is no doubt. */
export async function resolveDoubt(
  parts: DoubtParts,
  claim: Claim,
  connection: ApiConnection,
  unsettled: UnsettledAttempt,
  lease: Lease,
): Promise<Doubt> {
  if (unsettled.operation !== "create" || unsettled.delivery === "not_applied") return SEND;
  // A crash came before the result: nobody has told of it yet.
  if (unsettled.delivery === "sending") parts.observe.unknownOutcome(claim.accountId);

  switch (parts.policy.unknownOutcome) {
    case "resend":
      return SEND;
    case "park":
      return claim.retry
        ? sendOnceAlone(parts, claim, unsettled)
        : ended(parkUnknownOutcome(unsettled));
    case "lookup":
      return await lookUp(parts, claim, connection, unsettled, lease);
    default:
      return parts.policy.unknownOutcome satisfies never;
  }
}

async function lookUp(
  parts: DoubtParts,
  claim: Claim,
  connection: ApiConnection,
  create: UnsettledAttempt,
  lease: Lease,
): Promise<Doubt> {
  // A request like any other: paced, and never beside another one for this account.
  const place = await parts.place(connection.baseUrl, lease.signal);
  if (place.kind === "stopped") return LEASE_LOST;
  if (place.kind === "held") {
    parts.api.hold(connection, place.forMs);
    return ended({
      ...notSentYet(claim, create.sent, place.forMs),
      attempt: create,
      delivery: "unknown",
      settlesAttempt: false,
    });
  }
  if (!(await parts.isStillOurs(claim, lease.leaving))) return LEASE_LOST;

  const command = JSON.parse(create.body) as CustomerCommand;
  const result = await parts.api.lookUp(connection, {
    accountId: create.sent.accountId,
    // As it was sent: the row may have another number by now.
    accountNo: command.branch.code,
    referenceField: parts.mapping.referenceField,
    body: create.body,
    idempotencyKey: create.idempotencyKey,
    mayBegin: () => lease.isHeld(),
    signal: lease.signal,
  });
  if (result.kind === "failed") {
    const attempt = { ...create, claim, supersedes: null, repeatsUnknown: true };
    return ended({ ...afterFailure(parts, claim, attempt, result.failure), attempt: create });
  }

  const leaveToAHuman = (reason: string): Doubt =>
    claim.retry
      ? sendOnceAlone(parts, claim, create)
      : ended({ ...parkUnknownOutcome(create, reason), httpStatus: result.httpStatus });
  const { found } = result;
  switch (found.kind) {
    case "unclear":
      return leaveToAHuman(found.reason);
    case "none":
      return sendOnceAlone(parts, claim, create);
    case "one": {
      const received = {
        ...matchIds(found.answer, command, create.sent, {
          referenceField: parts.mapping.referenceField,
          answers: "a lookup",
        }),
        adopted: true,
      };
      if (received.customer === null)
        return leaveToAHuman("The lookup found the customer, but no id that can be used");
      const { attemptId } = create;
      const { httpStatus } = result;
      const { takenBy } = await parts.adopt(
        { attemptId, accountId: claim.accountId, received, httpStatus },
        lease.leaving,
      );
      return takenBy === null
        ? { kind: "found", received, httpStatus }
        : leaveToAHuman(
            `The lookup found a customer whose id account ${takenBy} has: two accounts with one number`,
          );
    }
    default:
      return found satisfies never;
  }
}

/**
 * Not beside the first one. Its sender may still wait for the answer (it lost the database, not the API), and an API may be at work on
 * what nobody waits for any more; whoever looked and found nothing may have looked too soon.
 */
function sendOnceAlone(
  { policy }: Pick<DoubtParts, "policy">,
  claim: Claim,
  create: UnsettledAttempt,
): Doubt {
  const waitMs = policy.applyingMaxMs - create.sentMsAgo;
  return waitMs <= 0 ? SEND : ended(waitForTheFirst(claim, create, waitMs));
}

const SEND: Doubt = { kind: "send" };
const LEASE_LOST: Doubt = { kind: "lease lost" };

function ended(ending: Ending): Doubt {
  return { kind: "ended", ending };
}
