/**
 * Finishes the send whose ids could not be written, with the ids that its caller still has: they are written and the send is settled in one
 * transaction, as a daemon would do it. So queue and history know at once that there is nothing left to do, and no daemon sends again.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { loadAccounts } from "../account/load.ts";
import type { SentRow } from "../customer-command/command.ts";
import { fingerprintOf } from "../customer-command/fingerprint.ts";
import type { ReceivedIds } from "../customer-command/match-ids.ts";
import { type MatchProblem, toProblem } from "../customer-command/match-problem.ts";
import type { ReceivedId } from "../customer-command/match-rows.ts";
import { toCommand } from "../customer-command/transform.ts";
import type { Taken } from "../queue/queue.ts";
import { journalAnswers, loadUnsettledAttempts, type UnsettledAttempt } from "../sync/journal.ts";
import type { RowResult } from "../sync/outcome.ts";
import { settleAll } from "../sync/settle.ts";
import type { Wiring } from "../wiring.ts";
import { toClaim } from "./calls.ts";

export interface LostWrites {
  readonly accountId: string;
  readonly received: ReceivedIds;
  /** Of the send, where the journal may not have its answer. */
  readonly idempotencyKey: string | null;
  readonly userId: string;
}

const LOOK_EVERY_MS = 100;
/** On top of a lease, which runs out by itself when its process could not give it back. */
const LEASE_GRACE_MS = 1_000;
/** Other transactions rarely lock a row for longer than a second. */
const LOCKED_TRIES = 10;
/** Bodies are not needed. */
const BODY_BYTES_MAX = 0;

/** Resolves false where there is no such send (any more), another process keeps the account, or not everything could be written. */
export async function finishSend(wiring: Wiring, writes: LostWrites): Promise<boolean> {
  for (let tries = 1; ; tries += 1) {
    const rows = await finishOnce(wiring, writes);
    const isLocked = rows?.some(({ status }) => status === "locked") ?? false;
    if (!isLocked || tries === LOCKED_TRIES) return rows !== null && !isLocked;
    await sleep(LOOK_EVERY_MS);
  }
}

async function finishOnce(
  wiring: Wiring,
  writes: LostWrites,
): Promise<readonly RowResult[] | null> {
  const { queue } = wiring;
  if ((await findSend(wiring, writes)) === null) return null;
  const taken = await take(wiring, writes.accountId);
  if (taken === null) return null;
  try {
    return await finishTaken(wiring, writes, taken);
  } finally {
    // Settled, it has no such lease any more.
    await queue.release([taken]).catch(() => {});
  }
}

async function finishTaken(
  wiring: Wiring,
  writes: LostWrites,
  taken: Taken,
): Promise<readonly RowResult[] | null> {
  const { db, queue } = wiring;
  // Another process may have finished it until now.
  const send = await findSend(wiring, writes);
  if (send === null) return null;
  const { attemptId } = send;
  const isAnswered = send.delivery === "answered" && send.received !== null;
  const received =
    isAnswered && send.received !== null ? send.received : whole(send, writes.received);
  if (!isAnswered) await journalAnswers(db, [{ attemptId, received, httpStatus: null }]);

  const claim = { ...toClaim(taken, { userId: writes.userId, configId: null }), force: false };
  const generation = await generationOf(wiring, taken, send);
  const attempt = { ...send, generation, userId: writes.userId };
  const [settled = null] = await settleAll(
    {
      clock: wiring.clock,
      db,
      queue,
      delayAfter: wiring.delayAfter,
      lastSource: { source: null },
      onStray: () => {},
      // Those that wait for this account look again by themselves.
      onTrouble: () => {},
    },
    [{ kind: "accepted", claim, attempt, received, httpStatus: null, isJournaled: true }],
  );
  return settled === null || settled instanceof Error ? null : (settled.rows ?? []);
}

/** What was folded since is delivered, too, where the rows say what was sent. */
async function generationOf(
  { db, mapping }: Pick<Wiring, "db" | "mapping">,
  { accountId, generation }: Taken,
  send: UnsettledAttempt,
): Promise<string> {
  const [loaded] = await loadAccounts(db, [accountId]);
  const account = loaded?.account ?? null;
  const isSame =
    account !== null && fingerprintOf(toCommand(account, mapping).command) === send.fingerprint;
  return isSame ? generation : send.generation;
}

async function findSend(
  { db }: Pick<Wiring, "db">,
  { accountId, idempotencyKey }: LostWrites,
): Promise<UnsettledAttempt | null> {
  const send = (await loadUnsettledAttempts(db, [accountId], BODY_BYTES_MAX)).get(accountId);
  if (send === undefined || send.operation === "delete") return null;
  if (send.delivery === "answered" && send.received !== null) return send;
  return send.idempotencyKey === idempotencyKey ? send : null;
}

async function take(
  { queue, clock }: Pick<Wiring, "queue" | "clock">,
  accountId: string,
): Promise<Taken | null> {
  const until = clock.now() + queue.leaseMs + LEASE_GRACE_MS;
  for (;;) {
    const [taken] = await queue.take([accountId], 1);
    if (taken !== undefined || clock.now() >= until) return taken ?? null;
    await sleep(LOOK_EVERY_MS);
  }
}

/** What came, with the rows for which nothing came as problems: the caller has no ids for them. */
function whole({ sent }: UnsettledAttempt, received: ReceivedIds): ReceivedIds {
  const without = (
    entity: "tier" | "pic",
    rows: readonly SentRow[],
    ids: readonly ReceivedId[],
  ): MatchProblem[] => {
    const known = new Set(ids.map(({ id }) => id));
    const missing = rows.filter(({ id, externalId }) => externalId === null && !known.has(id));
    return missing.length === 0
      ? []
      : [toProblem(entity, missing.length, "the API gave no id that is certainly this row's", [])];
  };
  return {
    ...received,
    problems: [
      ...without("tier", sent.tiers, received.tiers),
      ...without("pic", sent.pics, received.pics),
    ],
  };
}
