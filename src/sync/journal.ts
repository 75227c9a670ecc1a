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
 * `attempt`: it may go out. `asked to wait`: its API asked all daemons for a pause, and nothing is written down. `not ours`: the lease was
 * lost, or something came in that has to be finished first; nothing may be sent.
 */
export type Journaled =
  | { readonly kind: "attempt"; readonly attempt: Attempt }
  | { readonly kind: "asked to wait"; readonly forMs: number }
  | { readonly kind: "not ours" };

/** A send, and the API that it goes to. */
export interface AddressedSend {
  readonly send: Send;
  readonly baseUrl: string;
}

/**
 * Writes the sends down. Resolves with what became of each.
 *
 * Leases that are half over are renewed in the same transaction, so that each request has time before it. Repeatable, as long as it is for
 * the same sends: a commit whose answer was lost may have happened.
 */
export async function journalSends(
  db: Database,
  queue: Pick<Queue, "leaseMs" | "lockLeases" | "release">,
  sends: readonly AddressedSend[],
): Promise<Journaled[]> {
  const fresh = sends.filter(({ send }) => send.supersedes === null);
  const superseding = sends.filter(({ send }) => send.supersedes !== null);
  const rows = [
    // One statement is a transaction of its own, in one round trip.
    ...(await write(db, queue.leaseMs, fresh)),
    ...(superseding.length === 0 ? [] : await supersede(db, queue, superseding)),
  ];
  const rowOf = new Map(rows.map((row) => [row.accountId, row]));

  // The answer to an earlier send came in since the account was loaded, from a worker that had lost its lease: claimed again, the
  // account begins with that.
  const overtaken = sends.flatMap(({ send: { claim } }) => {
    const row = rowOf.get(claim.accountId);
    return row !== undefined && row.attemptId === null && row.waitMs === null ? [claim] : [];
  });
  if (overtaken.length > 0) await queue.release(overtaken);
  return sends.map(({ send }) => toResult(send, rowOf.get(send.claim.accountId)));
}

/** An attempt is superseded under the account's lease only, and together with the send that replaces it. */
async function supersede(
  db: Database,
  queue: Pick<Queue, "leaseMs" | "lockLeases">,
  sends: readonly AddressedSend[],
): Promise<JournaledSend[]> {
  return await db.transaction(async (tx) => {
    const held = await queue.lockLeases(
      tx,
      sends.map(({ send }) => send.claim),
    );
    const allowed = sends.filter(({ send }) => held.has(send.claim.accountId));
    await tx.run("supersede_attempts", [
      allowed.map(({ send }) => send.supersedes),
      allowed.map(({ send }) => send.operation === "delete"),
    ]);
    return await write(tx, queue.leaseMs, allowed);
  });
}

async function write(
  db: Queryable,
  leaseMs: number,
  sends: readonly AddressedSend[],
): Promise<JournaledSend[]> {
  if (sends.length === 0) return [];
  return await db.run<JournaledSend>("journal_sends", [
    JSON.stringify(sends.map(toJournaled)),
    leaseMs,
  ]);
}

/** An account whose lease is still ours. */
interface JournaledSend {
  readonly accountId: string;
  /** null when it was not written down. */
  readonly attemptId: string | null;
  readonly keyHadOtherData: boolean | null;
  /** What is left of a pause that its API asked for. */
  readonly waitMs: number | null;
}

function toResult(send: Send, row: JournaledSend | undefined): Journaled {
  if (row === undefined) return { kind: "not ours" };
  const { attemptId, waitMs } = row;
  if (attemptId !== null) {
    const keyHadOtherData = row.keyHadOtherData ?? false;
    return { kind: "attempt", attempt: { ...send, attemptId, keyHadOtherData } };
  }
  return waitMs === null ? { kind: "not ours" } : { kind: "asked to wait", forMs: waitMs };
}

function toJournaled({ send, baseUrl }: AddressedSend) {
  const { claim, generation, operation, idempotencyKey, userId, configId } = send;
  const { body, sent, fingerprint, fieldFingerprints, warnings, supersedes } = send;
  return {
    accountId: claim.accountId,
    leaseToken: claim.leaseToken,
    // Where an earlier send has been given up for this one, it is written down in any case.
    waitsFor: supersedes === null ? baseUrl : null,
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
  if (answers.length === 0) return [];
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
