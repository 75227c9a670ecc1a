/**
 * One send: it is admitted, waits for its turn, is journaled, and goes out. The ids of its answer are journaled where the account is settled (settle.ts).
 *
 *     admission ─▶ turn ─▶ journal the send ─▶ slot ─▶ request ─▶ match ids
 */
import type { ApiResult } from "../customer-api/customer-api.ts";
import { matchIds, type ReceivedIds } from "../customer-command/match-ids.ts";
import {
  accountBack,
  afterFailure,
  answeredWithoutCustomer,
  customerDeleted,
  notSentYet,
  putsCreateInDoubt,
} from "./endings.ts";
import type { Attempt, Send } from "./journal.ts";
import type { SyncPolicy } from "./policy.ts";
import { end, type LastStep, LEASE_LOST, type SendStep } from "./step.ts";
import type { SyncContext } from "./sync-context.ts";

/** Resolves with what is left to do: write ids back, or end. */
export async function send(sync: SyncContext, step: SendStep): Promise<LastStep> {
  const { wiring, lease } = sync;
  const last = await wiring.slots.admit(lease, async () => {
    // Once it is admitted: turns that were taken while requests hang would all be used at once when these end.
    if (!(await wiring.waitForTurn(lease.signal))) return LEASE_LOST;
    return (await holdBack(sync, step)) ?? (await sendNow(sync, step));
  });
  return last ?? LEASE_LOST;
}

/** Before the send is journaled: until then it has not begun. null when it may begin. */
async function holdBack(
  sync: SyncContext,
  { connection, send }: SendStep,
): Promise<LastStep | null> {
  const { wiring, claim } = sync;
  // Given back while the process drains: broken off, it would be in doubt.
  if (!hasTime(sync, send)) return LEASE_LOST;
  if (send.supersedes !== null) {
    const forMs = await wiring.askedWaitMs(connection.baseUrl);
    if (forMs > 0) return askedToWait(sync, { connection, send }, forMs);
  }
  if (send.operation !== "delete") return null;

  // It may have waited long for its turn, and the account may be back.
  const { account, unsettled } = await wiring.load(claim.accountId);
  return account === null ? null : end({ ...accountBack(unsettled), generation: send.generation });
}

function askedToWait(
  { wiring, claim }: SyncContext,
  { connection, send }: Pick<SendStep, "connection" | "send">,
  forMs: number,
): LastStep {
  wiring.api.startWait(connection, forMs);
  const { generation, warnings } = send;
  return end({ ...notSentYet(claim, send.sent, forMs), generation, warnings });
}

async function sendNow(sync: SyncContext, step: SendStep): Promise<LastStep> {
  const { connection, send, isRepeat } = step;
  const { wiring, lease, caller, dbSignal } = sync;
  const begunAt = wiring.clock.now();
  const journaled = await wiring.journalSend({ send, baseUrl: connection.baseUrl }, dbSignal);
  if (journaled.kind === "not ours") return LEASE_LOST;
  if (journaled.kind === "asked to wait") return askedToWait(sync, step, journaled.forMs);

  const { attempt } = journaled;
  const isInTime = () =>
    lease.isHeld() && wiring.clock.now() - begunAt < wiring.policy.beginWithinMs;
  const request = () => {
    caller.onSend?.(send, isRepeat);
    return wiring.api.send(connection, {
      operation: send.operation,
      externalId: send.operation === "create" ? null : send.sent.externalId,
      body: send.operation === "delete" ? null : send.body,
      idempotencyKey: send.idempotencyKey,
      generation: send.generation,
      mayBegin: () => isInTime() && hasTime(sync, send),
      signal: mayNotBeRepeated(send, wiring.policy) ? lease.leaving : lease.signal,
    });
  };
  const exchange = async () => {
    const result = await wiring.slots.use(request);
    caller.onResult?.(send, result);
    return await judge(sync, attempt, result);
  };
  return mayNotBeRepeated(send, wiring.policy) ? await lease.waitFor(exchange) : await exchange();
}

/** Whether a create that is parked when its answer does not come can be answered before the process leaves. */
function hasTime({ wiring: { policy }, lease }: SyncContext, send: Send): boolean {
  const requestMaxMs = policy.applyingMaxMs - policy.beginWithinMs;
  return !mayNotBeRepeated(send, policy) || lease.hasTimeFor(requestMaxMs);
}

/**
 * A create that is parked when its answer does not come is sent again only at a person's word, and not while it may be under way: a worker
 * that takes the account over finds it in the journal and keeps away. So once it is written its answer is waited for, and journaled, even
 * when the lease is lost.
 */
function mayNotBeRepeated(send: Send, policy: SyncPolicy): boolean {
  return send.operation === "create" && policy.unknownOutcome === "park";
}

async function judge(sync: SyncContext, attempt: Attempt, result: ApiResult): Promise<LastStep> {
  const { wiring, claim, caller, dbSignal } = sync;
  const fail = (failure: Extract<ApiResult, { kind: "failed" }>["failure"]) => {
    if (putsCreateInDoubt(attempt, failure)) wiring.observe.unknownOutcome(claim.accountId);
    return end(afterFailure(wiring.policy, claim, attempt, failure));
  };
  if (result.kind === "failed") return fail(result.failure);

  const { attemptId, generation, operation } = attempt;
  const { httpStatus } = result;
  if (operation === "delete") {
    const answered = { attemptId, received: NOTHING_RECEIVED, httpStatus };
    await wiring.journalAnswer(answered, dbSignal);
    return end({ ...customerDeleted(), generation, attempt, httpStatus });
  }

  const received = matchIds(result.answer, attempt.body, attempt.sent, {
    referenceField: wiring.mapping.referenceField,
    answers: "the command",
  });
  if (operation === "create" && received.customer === null)
    return fail(answeredWithoutCustomer(httpStatus));

  caller.onReceived?.(received);
  return { kind: "write back", attempt, received, httpStatus, isJournaled: false };
}

/** A delete gives out no ids. */
const NOTHING_RECEIVED: ReceivedIds = {
  customer: null,
  branch: null,
  tiers: [],
  pics: [],
  problems: [],
};
