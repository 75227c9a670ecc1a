/**
 * Asks the API for the customer of an account: of a create whose answer never came (in-doubt.ts), and of an account that was never sent,
 * since an earlier system may have created its customer and not written the id.
 */
import type { ApiConnection, ApiFailure } from "../customer-api/customer-api.ts";
import type { CustomerCommand, SentRows } from "../customer-command/command.ts";
import { fingerprintOf } from "../customer-command/fingerprint.ts";
import { matchIds } from "../customer-command/match-ids.ts";
import { customerAdopted, lookupFailed, notSentYet, parkUnclearLookup } from "./endings.ts";
import { toApiUrl } from "./home.ts";
import { end, type LastStep, LEASE_LOST } from "./step.ts";
import type { Draft } from "./sync-account.ts";
import type { SyncContext } from "./sync-context.ts";

export interface WantedCreate {
  readonly body: string;
  readonly sent: SentRows;
  readonly idempotencyKey: string;
}

export type LookedUp =
  | { readonly kind: "lease lost" }
  | { readonly kind: "asked to wait"; readonly forMs: number }
  | { readonly kind: "failed"; readonly failure: ApiFailure }
  /** Its ids are mapped to the account. */
  | { readonly kind: "adopted" }
  | { readonly kind: "none" }
  /** `reason` is a sentence without its full stop; `httpStatus` null: nothing was asked. */
  | { readonly kind: "unclear"; readonly reason: string; readonly httpStatus: number | null };

/** A request like any other: it waits for a slot and for its turn, and is never sent beside another one for this account. */
export async function lookUpCustomer(
  sync: SyncContext,
  connection: ApiConnection,
  create: WantedCreate,
): Promise<LookedUp> {
  const { wiring, lease } = sync;
  const lookedUp = await wiring.slots.admit(lease, () => lookUpNow(sync, connection, create));
  return lookedUp ?? LEASE_LOST;
}

async function lookUpNow(
  sync: SyncContext,
  connection: ApiConnection,
  create: WantedCreate,
): Promise<LookedUp> {
  const { wiring, claim, lease } = sync;
  if (!(await wiring.waitForTurn(lease.signal))) return LEASE_LOST;
  const forMs = await wiring.askedWaitMs(connection.baseUrl);
  if (forMs > 0) {
    wiring.api.startWait(connection, forMs);
    return { kind: "asked to wait", forMs };
  }
  if (!(await wiring.isStillOurs(claim, sync.dbSignal))) return LEASE_LOST;

  const command = JSON.parse(create.body) as CustomerCommand;
  const request = () =>
    wiring.api.lookUp(connection, {
      accountId: create.sent.accountId,
      // As it was sent: the row may have another number by now.
      accountNo: command.branch.code,
      referenceField: wiring.mapping.referenceField,
      body: create.body,
      idempotencyKey: create.idempotencyKey,
      mayBegin: () => lease.isHeld(),
      signal: lease.signal,
    });
  const result = await wiring.slots.use(request);
  if (result.kind === "failed") return result;

  const { found, httpStatus } = result;
  if (found.kind === "none") return found;
  if (found.kind === "unclear") return { ...found, httpStatus };
  const received = matchIds(found.answer, command, create.sent, {
    referenceField: wiring.mapping.referenceField,
    answers: "a lookup",
  });
  if (received.customer === null)
    return unclear("The lookup found the customer, but no id that can be used", httpStatus);

  const home = { configId: connection.configId, apiUrl: toApiUrl(connection) };
  const adopted = await wiring.adopt({ claim, sent: create.sent, received, home }, sync.dbSignal);
  if (adopted === null) return LEASE_LOST;
  const { takenBy } = adopted;
  return takenBy === null
    ? { kind: "adopted" }
    : unclear(
        `The lookup found a customer whose id account ${takenBy} has: two accounts with one number`,
        httpStatus,
      );
}

function unclear(reason: string, httpStatus: number | null): LookedUp {
  return { kind: "unclear", reason, httpStatus };
}

/** Before the first create of an account, where customers can be looked up. null when the create may go out. */
export async function lookForCustomer(
  sync: SyncContext,
  connection: ApiConnection,
  { account, command, sent }: Draft,
): Promise<LastStep | null> {
  const { wiring, claim } = sync;
  const { unknownOutcome, lookupFirst } = wiring.policy;
  const isFirstCreate = account.externalId === null && claim.createsEnded === 0;
  if (unknownOutcome !== "lookup" || !lookupFirst || !isFirstCreate || claim.discard) return null;

  const lookedUp = await lookUpCustomer(sync, connection, {
    body: JSON.stringify(command),
    sent,
    idempotencyKey: fingerprintOf(command),
  });
  switch (lookedUp.kind) {
    case "none":
      return null;
    case "adopted":
      return end(customerAdopted(null));
    case "unclear": {
      // Without an account number there is nothing to look for. And a person may have seen that it is not there.
      const { httpStatus, reason } = lookedUp;
      if (httpStatus === null || claim.retry) return null;
      return end({ ...parkUnclearLookup(account.id, sent, reason), httpStatus });
    }
    case "failed":
      return end(lookupFailed(wiring.policy, claim, sent, lookedUp.failure));
    case "asked to wait":
      return end(notSentYet(claim, sent, lookedUp.forMs));
    case "lease lost":
      return lookedUp;
    default:
      return lookedUp satisfies never;
  }
}
