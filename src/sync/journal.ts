/**
 * The journal of sends: what goes out is written down before, the ids that come back are written down before anything is done
 * with them. It is why a create never goes out twice under two identities, and why an id is never lost.
 */
import type { SentRows } from "../customer-command/command.ts";
import type { FieldFingerprints } from "../customer-command/fingerprint.ts";
import type { ReceivedIds } from "../customer-command/match-ids.ts";
import type { Database, Queryable } from "../db/database.ts";
import type { Claim, Queue } from "../queue/queue.ts";
import type { CountByEntity, ErrorClass, Operation, OutcomeName, Trigger } from "./outcome.ts";

/** A send that began and is not settled. Key and body stay the same over every repeat. */
export interface UnsettledAttempt {
  readonly attemptId: string;
  /** The generation whose data the body carries. */
  readonly generation: string;
  readonly operation: Operation;
  /**
   * `sending`: a crash came before the result. `unknown`: it may have been applied. `not_applied`: it was not.
   * `answered`: the ids are in `received`; only the write-back is missing.
   */
  readonly delivery: "sending" | "unknown" | "not_applied" | "answered";
  /** What it was answered with, where that is no success; null when no answer came. */
  readonly httpStatus: number | null;
  /** How long ago it was journaled, on the database's clock. */
  readonly sentMsAgo: number;
  readonly idempotencyKey: string;
  readonly userId: string;
  /** The API configuration that it went to; null for the one of the environment. */
  readonly configId: string | null;
  /** Empty when it is larger than was asked for: then `bodyBytes` says how large. */
  readonly body: string;
  readonly bodyBytes: number;
  readonly sent: SentRows;
  readonly fingerprint: string;
  /** null when a version that kept none has journaled it, or it has more fields than are kept. */
  readonly fieldFingerprints: FieldFingerprints | null;
  readonly warnings: number;
  readonly received: ReceivedIds | null;
  readonly keyHadOtherData: boolean;
}

/** What is about to be sent. */
export interface Send {
  readonly claim: Claim;
  readonly generation: string;
  readonly operation: Operation;
  readonly idempotencyKey: string;
  readonly userId: string;
  /** The API configuration that it goes to; null for the one of the environment. */
  readonly configId: string | null;
  readonly body: string;
  readonly sent: SentRows;
  readonly fingerprint: string;
  /** null when the command has more fields than are kept. */
  readonly fieldFingerprints: FieldFingerprints | null;
  /** What validation had to say about the command. */
  readonly warnings: number;
  /** The unsettled attempt this one repeats or replaces. */
  readonly supersedes: string | null;
  /** An earlier try of this same send may have been applied. */
  readonly repeatsUnknown: boolean;
}

/** A journaled send. */
export interface Attempt extends Send {
  readonly attemptId: string;
  /** A create whose key was sent with other data before, of an account that was removed meanwhile: the API may hold those. */
  readonly keyHadOtherData: boolean;
}

export async function loadUnsettledAttempts(
  db: Queryable,
  accountIds: readonly string[],
  bodyBytesMax: number,
): Promise<Map<string, UnsettledAttempt>> {
  const rows = await db.run<UnsettledAttempt & { accountId: string }>("load_unsettled_attempts", [
    accountIds,
    bodyBytesMax,
  ]);
  return new Map(rows.map((row) => [row.accountId, row]));
}

/**
 * Writes the sends down. Resolves with the attempt per send, or null where the lease was lost: then nothing may be sent.
 *
 * The leases are renewed in the same transaction, so that each request starts with a whole lease before it. Repeatable, as long as
 * it is for the same sends: a commit whose answer was lost may have happened.
 */
export async function journalSends(
  db: Database,
  queue: Pick<Queue, "beginSends" | "release">,
  sends: readonly Send[],
): Promise<(Attempt | null)[]> {
  return await db.transaction(async (tx) => {
    const held = await queue.beginSends(
      tx,
      sends.map((send) => send.claim),
    );
    const allowed = sends.filter((send) => held.has(send.claim.accountId));

    const superseding = allowed.filter((send) => send.supersedes !== null);
    if (superseding.length > 0)
      await tx.run("supersede_attempts", [
        superseding.map((send) => send.supersedes),
        superseding.map((send) => send.operation === "delete"),
      ]);

    const rows = await tx.run<JournaledSend>("journal_sends", [
      JSON.stringify(allowed.map(toJournaled)),
    ]);
    const journaled = new Map(rows.map(({ accountId, ...row }) => [accountId, row]));

    // The answer to an earlier send came in since the account was loaded, from a worker that had lost its lease: claimed again, the
    // account begins with that.
    const overtaken = allowed.filter((send) => !journaled.has(send.claim.accountId));
    if (overtaken.length > 0)
      await queue.release(
        overtaken.map((send) => send.claim),
        tx,
      );
    return sends.map((send) => {
      const row = journaled.get(send.claim.accountId);
      return row === undefined ? null : { ...send, ...row };
    });
  });
}

interface JournaledSend extends Pick<Attempt, "attemptId" | "keyHadOtherData"> {
  readonly accountId: string;
}

function toJournaled(send: Send) {
  const { claim, generation, operation, idempotencyKey, userId, configId } = send;
  const { body, sent, fingerprint, fieldFingerprints, warnings } = send;
  return {
    accountId: claim.accountId,
    trigger: claim.trigger,
    generation,
    operation,
    idempotencyKey,
    userId,
    configId,
    body,
    sent,
    fingerprint,
    fieldFingerprints,
    warnings,
  };
}

export interface Answered {
  readonly attemptId: string;
  readonly received: ReceivedIds;
  readonly httpStatus: number | null;
}

/** A customer that the API has made and that stands on no row: of a create that was given up, or that it made a second one of. */
export interface StrayCustomer {
  readonly accountId: string;
  readonly stray: "given up" | "made twice";
}

export async function journalAnswers(
  db: Queryable,
  answers: readonly Answered[],
): Promise<StrayCustomer[]> {
  const rows = await db.run<StrayCustomer | { stray: null }>("journal_answers", [
    answers.map((answer) => answer.attemptId),
    answers.map((answer) => JSON.stringify(answer.received)),
    answers.map((answer) => answer.httpStatus),
  ]);
  return rows.filter((row) => row.stray !== null);
}

/** An attempt that sent nothing, for the history. */
export interface UnsentAttempt {
  readonly accountId: string;
  readonly generation: string;
  readonly trigger: Trigger;
  readonly outcome: OutcomeName;
  readonly errorClass: ErrorClass | null;
  readonly error: string | null;
  readonly updated: CountByEntity;
  readonly failed: CountByEntity;
  readonly durationMs: number;
  readonly warnings: number;
}

export async function recordUnsent(
  db: Queryable,
  attempts: readonly UnsentAttempt[],
): Promise<void> {
  if (attempts.length > 0) await db.run("record_attempts", [JSON.stringify(attempts)]);
}
