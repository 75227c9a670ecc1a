import type { Account } from "../account/account.ts";
import { callOn } from "../call-on.ts";
import type { ApiConnection } from "../customer-api/customer-api.ts";
import { type CustomerCommand, type SentRows, sizeProblem } from "../customer-command/command.ts";
import { fieldFingerprintsOf, fingerprintOf } from "../customer-command/fingerprint.ts";
import { matchIds, type ReceivedIds } from "../customer-command/match-ids.ts";
import { toCommand } from "../customer-command/transform.ts";
import {
  describeErrors,
  toValidationContext,
  validateCommand,
} from "../customer-command/validate.ts";
import type { Lease } from "../queue/lease.ts";
import type { Claim } from "../queue/queue.ts";
import type { Send, UnsettledAttempt } from "./attempt.ts";
import { resolveDoubt } from "./doubt.ts";
import {
  afterFailure,
  answeredWithoutCustomer,
  backAgain,
  type Ending,
  gone,
  notSentYet,
  notValid,
  removed,
  WITHOUT_FURTHER_ADO,
  withoutConnection,
} from "./endings.ts";
import type { Outcome } from "./outcome.ts";
import { planRemoval } from "./removal.ts";
import type { ParentState, SyncParts, SyncPolicy } from "./sync-parts.ts";

/**
 * Brings one claimed account to the API. Resolves with the outcome, which is written by then; null when the lease was lost
 * on the way, and with it the right to write anything.
 */
export async function syncAccount(
  parts: SyncParts,
  claim: Claim,
  lease: Lease,
): Promise<Outcome | null> {
  const startedAt = parts.clock.now();
  const end = (ending: Ending) =>
    parts.settle(
      {
        ...WITHOUT_FURTHER_ADO,
        generation: claim.generation,
        ...ending,
        kind: "ended",
        claim,
        durationMs: parts.clock.now() - startedAt,
      },
      lease.leaving,
    );

  const { account, unsettled, tooLarge } = await parts.load(claim.accountId);
  const isRemoved = account === null && tooLarge === null;
  if (isRemoved && parts.policy.onAccountDelete === "delete") {
    const configId = unsettled === null ? claim.configId : unsettled.configId;
    const connection = await parts.connection(configId);
    if ("error" in connection) {
      return await end(withoutConnection(parts, claim, null, connection.error));
    }
    const removal = await planRemoval(parts, claim, connection, unsettled, lease);
    switch (removal.kind) {
      case "delete":
        return await send(parts, claim, connection, removal.send, lease);
      case "ended":
        return await end(removal.ending);
      case "lease lost":
        return null;
      case "nothing":
        break;
      default:
        return removal satisfies never;
    }
  }
  if (unsettled?.delivery === "answered" && unsettled.received !== null) {
    return await parts.settle(
      {
        kind: "accepted",
        claim,
        attempt: unsettled,
        received: unsettled.received,
        httpStatus: null,
      },
      lease.leaving,
    );
  }
  if (tooLarge !== null) {
    return await end(notValid(tooLarge, null));
  }
  if (account === null) {
    return await end(gone(unsettled));
  }

  // A repeat goes where the first try went, whoever asks for it: only that API knows its key.
  const repeats = unsettled !== null && mustBeRepeated(unsettled, account) ? unsettled : null;
  const connection = await parts.connection(repeats === null ? claim.configId : repeats.configId);
  if ("error" in connection)
    return await end(withoutConnection(parts, claim, account, connection.error));
  if (repeats !== null) {
    const doubt = await resolveDoubt(parts, claim, connection, repeats, lease);
    switch (doubt.kind) {
      case "found":
        return await parts.settle(
          { ...doubt, kind: "accepted", claim, attempt: repeats },
          lease.leaving,
        );
      case "ended":
        return await end(doubt.ending);
      case "lease lost":
        return null;
      case "send":
        return await send(parts, claim, connection, toRepeat(repeats, claim), lease);
      default:
        return doubt satisfies never;
    }
  }

  if (account.parent !== null && account.parent.externalId === null) {
    return await end(await waitForParent(parts, account, account.parent.id));
  }

  const { command, sent } = toCommand(account, parts.mapping);
  const { language } = parts.policy;
  const validation = validateCommand(command, toValidationContext(account, language));
  parts.observe.validated({ accountId: account.id, warnings: validation.warnings });
  const facts = {
    warnings: validation.warnings.length,
    supersedes: unsettled?.attemptId ?? null,
  };
  if (!validation.isValid) {
    return await end({ ...notValid(describeErrors(validation, language), account), ...facts });
  }

  const fingerprint = fingerprintOf(command);
  if (!claim.force && fingerprint === claim.fingerprint && hasAllIds(sent)) {
    return await end({ name: "unchanged", ...facts });
  }

  const body = JSON.stringify(command);
  const problem = sizeProblem(body);
  if (problem !== null) return await end({ ...notValid(problem, account), ...facts });

  return await send(
    parts,
    claim,
    connection,
    {
      claim,
      generation: claim.generation,
      operation: account.externalId === null ? "create" : "update",
      idempotencyKey: crypto.randomUUID(),
      userId: claim.userId ?? parts.policy.defaultUserId,
      configId: claim.configId,
      body,
      sent,
      fingerprint,
      fieldFingerprints: fieldFingerprintsOf(command, account.id),
      ...facts,
      repeatsUnknown: false,
    },
    lease,
  );
}

async function send(
  parts: SyncParts,
  claim: Claim,
  connection: ApiConnection,
  send: Send,
  lease: Lease,
): Promise<Outcome | null> {
  // Before it is journaled: a send that waits for its place has not begun.
  const place = await parts.place(connection.baseUrl, lease.signal);
  if (place.kind === "stopped") return null;
  if (place.kind === "held") {
    parts.api.hold(connection, place.forMs);
    return await parts.settle(
      {
        ...WITHOUT_FURTHER_ADO,
        ...notSentYet(claim, send.sent, place.forMs),
        warnings: send.warnings,
        kind: "ended",
        claim,
        generation: send.generation,
        durationMs: 0,
      },
      lease.leaving,
    );
  }
  // It may have waited long for its place.
  if (send.operation === "delete") {
    const now = await parts.load(claim.accountId);
    if (now.account !== null) {
      return await parts.settle(
        {
          ...WITHOUT_FURTHER_ADO,
          ...backAgain(now.unsettled),
          kind: "ended",
          claim,
          generation: send.generation,
          durationMs: 0,
        },
        lease.leaving,
      );
    }
  }

  const journaledAt = parts.clock.now();
  const attempt = await parts.journalSend(send, lease.leaving);
  if (attempt === null) return null;

  const startedAt = parts.clock.now();
  const result = await parts.api.send(connection, {
    operation: send.operation,
    externalId: send.operation === "create" ? null : send.sent.externalId,
    body: send.operation === "delete" ? null : send.body,
    idempotencyKey: send.idempotencyKey,
    generation: send.generation,
    mayBegin: () => lease.isHeld() && parts.clock.now() - journaledAt < parts.policy.beginWithinMs,
    signal: mayNotBeRepeated(send, parts.policy) ? lease.leaving : lease.signal,
  });
  const end = (ending: Ending) =>
    parts.settle(
      {
        ...WITHOUT_FURTHER_ADO,
        ...ending,
        kind: "ended",
        claim,
        generation: attempt.generation,
        attempt,
        durationMs: parts.clock.now() - startedAt,
      },
      lease.leaving,
    );
  if (result.kind === "failed")
    return await end(afterFailure(parts, claim, attempt, result.failure));

  if (send.operation === "delete") {
    await parts.journalAnswer(
      { attemptId: attempt.attemptId, received: NOTHING_RECEIVED, httpStatus: result.httpStatus },
      lease.leaving,
    );
    return await end({ ...removed(), httpStatus: result.httpStatus });
  }

  const command = JSON.parse(send.body) as CustomerCommand;
  const received = matchIds(result.answer, command, send.sent, {
    referenceField: parts.mapping.referenceField,
    answers: "the command",
  });
  if (send.operation === "create" && received.customer === null) {
    return await end(
      afterFailure(parts, claim, attempt, answeredWithoutCustomer(result.httpStatus)),
    );
  }

  await parts.journalAnswer(
    { attemptId: attempt.attemptId, received, httpStatus: result.httpStatus },
    lease.leaving,
  );
  return await parts.settle(
    { kind: "accepted", claim, attempt, received, httpStatus: result.httpStatus },
    lease.leaving,
  );
}

/** A delete gives out no ids. */
const NOTHING_RECEIVED: ReceivedIds = {
  customer: null,
  branch: null,
  tiers: [],
  pics: [],
  problems: [],
};

function toRepeat(repeats: UnsettledAttempt, claim: Claim): Send {
  return {
    ...repeats,
    claim,
    supersedes: repeats.attemptId,
    repeatsUnknown: repeats.delivery !== "not_applied",
  };
}

/**
 * Nobody sends this again but at a person's word, and not while it may be under way: whoever takes the account over finds the create in
 * the journal and keeps away. So once it is written its answer is waited for, and written down, even when the lease is lost.
 */
function mayNotBeRepeated(send: Send, policy: SyncPolicy): boolean {
  return send.operation === "create" && policy.unknownOutcome === "park";
}

/**
 * A send that may have been applied, or is a create, goes out again as it was before anything newer does. An update that only changes
 * values may be overtaken by a newer one; one that adds tiers or PICs may not, or they could be added twice.
 */
function mustBeRepeated(unsettled: UnsettledAttempt, account: Account): boolean {
  switch (unsettled.operation) {
    case "create":
      // Somebody has given the account an id meanwhile: it is an update from here on.
      return account.externalId === null;
    case "update":
      return (
        unsettled.delivery !== "not_applied" &&
        !hasAllIds(unsettled.sent) &&
        unsettled.sent.externalId === account.externalId
      );
    case "delete":
      return false;
    default:
      return unsettled.operation satisfies never;
  }
}

async function waitForParent(
  parts: SyncParts,
  account: Account,
  parentId: string,
): Promise<Ending> {
  const cycle = await parts.findParentCycle(account.id);
  const blocked = {
    name: "blocked",
    blockedBy: parentId,
    delayMs: parts.policy.blockedRecheckMs,
  } as const;
  if (cycle !== null) {
    const error =
      parentId === account.id
        ? `The account ${parentId} is its own parent, so it cannot be sent. Remove its parent.`
        : `The accounts ${cycle.join(" -> ")} are each other's parents, so none of them can be sent first. Remove the parent of one of them.`;
    return { ...blocked, errorClass: "validation", error };
  }

  const state = await parts.findParentState(parentId);
  return {
    ...blocked,
    isExpected: state === "on its way",
    error: `Waits for its parent ${parentId}, ${whyParentIsAwaited(parentId, state)}.`,
  };
}

function whyParentIsAwaited(parentId: string, state: ParentState): string {
  switch (state) {
    case "on its way":
      return "which has no external id yet";
    case "parked":
      return `which is parked; \`${callOn("status", parentId)}\` says why`;
    case "not asked for":
      return `which has no external id and is not in the queue; \`${callOn("sync", parentId)}\` sends it`;
    case "missing":
      return "which is not in m_account; correct the parent of this account";
    default:
      return state satisfies never;
  }
}

function hasAllIds(sent: SentRows): boolean {
  return (
    sent.externalId !== null &&
    [...sent.tiers, ...sent.pics].every((row) => row.externalId !== null)
  );
}
