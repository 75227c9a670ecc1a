/**
 * Ends syncs: in one transaction the ids are written back, the attempts finished and the accounts settled, for all accounts that came
 * to their end together. Fenced by the lease: an account that another worker has taken over is not changed.
 */
import { describeSource } from "../account/source.ts";
import type { Clock } from "../clock.ts";
import type { Database, Transaction } from "../db/database.ts";
import { isContention, isOutage } from "../db/error-code.ts";
import type { Queue } from "../queue/queue.ts";
import { isSameId, toComparableId } from "../same-id.ts";
import { findMappedOwners, type OwnedId } from "./adopt.ts";
import type { Accepted, Conclusion } from "./conclusion.ts";
import { finishAttempts } from "./finish-attempts.ts";
import { mapIds } from "./map-ids.ts";
import type { Outcome, RowResult } from "./outcome.ts";
import { decide } from "./settlement.ts";
import { wakeWaiting } from "./wake-waiting.ts";
import { withRestored, writeBack } from "./write-back.ts";

export interface SettleOptions {
  readonly clock: Pick<Clock, "random">;
  readonly db: Database;
  readonly queue: Pick<Queue, "lockLeases" | "settle" | "wakeChildren" | "reviveAnswered">;
  readonly delayAfter: (attempts: number) => number;
  /** Waking the accounts that wait has failed; their next recheck finds what they wait for. */
  readonly onTrouble: (error: unknown) => void;
}

/** This transaction holds rows that folds wait for, so it waits no longer than this for another transaction's lock. */
const LOCK_WAIT_MS = 500;

/** Resolves with the outcome per conclusion, null where the lease was lost, or the error that kept this one from being settled. */
export async function settleAll(
  options: SettleOptions,
  conclusions: readonly Conclusion[],
): Promise<(Outcome | null | Error)[]> {
  try {
    return await settleTogether(options, conclusions, "together");
  } catch (error) {
    if (isOutage(error)) throw error;
    // The whole table is locked (a migration, an index being built): each account alone would wait as long.
    if (isContention(error))
      return await settleTogether(options, conclusions, { rows: "locked", error });
  }
  // Something in the batch is refused by the database: one by one, so that a bad row costs only itself.
  const outcomes: (Outcome | null | Error)[] = [];
  for (const conclusion of conclusions) outcomes.push(await settleAlone(options, conclusion));
  return outcomes;
}

async function settleAlone(
  options: SettleOptions,
  conclusion: Conclusion,
): Promise<Outcome | null | Error> {
  let mode: Mode = "together";
  for (;;) {
    try {
      const [outcome] = await settleTogether(options, [conclusion], mode);
      return outcome ?? null;
    } catch (error) {
      if (isOutage(error) || typeof mode === "object") return toError(error);
      if (isContention(error)) mode = { rows: "locked", error };
      else if (mode === "together") mode = "row by row";
      // Without the ids, which stay journaled.
      else mode = { rows: "failed", error };
    }
  }
}

/** How the ids are written: in one statement per table, each row in a savepoint, or not this time. */
type Mode =
  | "together"
  | "row by row"
  | { readonly rows: "locked" | "failed"; readonly error: unknown };

async function settleTogether(
  options: SettleOptions,
  conclusions: readonly Conclusion[],
  mode: Mode,
): Promise<(Outcome | null)[]> {
  const { db, queue, delayAfter, clock } = options;
  const decisions = await db.transaction(async (tx) => {
    const held = await queue.lockLeases(
      tx,
      conclusions.map(({ claim }) => claim),
    );
    const ours = conclusions.filter(({ claim }) => held.has(claim.accountId));
    const rows = await writeReceivedIds(tx, ours, mode);
    const decided = ours.map((conclusion) =>
      decide(conclusion, rows.get(conclusion) ?? [], {
        delayAfter,
        random: () => clock.random(),
      }),
    );

    await mapIds(tx, decided);
    await finishAttempts(tx, decided);
    await queue.settle(
      tx,
      decided.map(({ settlement }) => settlement),
    );
    return decided;
  });

  // Settled already: a child that is not woken here finds its parent at its next recheck.
  await wakeWaiting(options, conclusions, decisions).catch(options.onTrouble);
  const outcomes = new Map(decisions.map(({ conclusion, outcome }) => [conclusion, outcome]));
  return conclusions.map((conclusion) => outcomes.get(conclusion) ?? null);
}

async function writeReceivedIds(
  tx: Transaction,
  conclusions: readonly Conclusion[],
  mode: Mode,
): Promise<Map<Conclusion, RowResult[]>> {
  const accepted = conclusions.filter((conclusion) => conclusion.kind === "accepted");
  if (accepted.length === 0) return new Map();
  if (typeof mode === "object") {
    return new Map(accepted.map((conclusion) => [conclusion, unwrittenRows(conclusion, mode)]));
  }
  await tx.run("limit_lock_waits", [LOCK_WAIT_MS]);
  const taken = await findTaken(tx, accepted);
  const { hasBranchIds } = await describeSource(tx);
  const written = accepted.filter((conclusion) => !taken.has(conclusion));
  const results = await writeBack(
    tx,
    written.map(({ attempt, received, claim }) => ({
      sent: attempt.sent,
      received: withRestored(received, attempt.sent),
      userId: attempt.userId,
      replace: claim.replace,
    })),
    { hasBranchIds, rowByRow: mode === "row by row" },
  );
  return new Map<Conclusion, RowResult[]>([
    ...taken,
    ...written.map((conclusion, index) => [conclusion, results[index] ?? []] as const),
  ]);
}

/**
 * Answers with the id of another account's customer: of an API that takes two accounts for one. Written, the edits of the one would
 * overwrite the other.
 */
async function findTaken(
  tx: Transaction,
  accepted: readonly Accepted[],
): Promise<Map<Accepted, RowResult[]>> {
  const isNew = ({ attempt, received }: Accepted) =>
    received.customer !== null && !isSameId(received.customer, attempt.sent.externalId);
  const fresh = accepted.filter(isNew);
  if (fresh.length === 0) return new Map();

  const owned = fresh.map(({ attempt, received }) => ({
    externalId: received.customer ?? "",
    accountId: attempt.sent.accountId,
    configId: attempt.configId,
  }));
  const owners = await findMappedOwners(tx, owned);
  // Two of this batch may be answered with one id, before either is mapped. Of two APIs the same id is two customers.
  const nameOf = ({ externalId, configId }: OwnedId) =>
    JSON.stringify([configId, toComparableId(externalId)]);
  const firstOf = new Map(owned.map((one) => [nameOf(one), one.accountId] as const).reverse());
  return new Map(
    fresh.flatMap((conclusion, index) => {
      const one = owned[index];
      if (one === undefined) return [];
      const { accountId, externalId } = one;
      const first = firstOf.get(nameOf(one)) ?? accountId;
      const owner = owners[index] ?? (first === accountId ? null : first);
      if (owner === null) return [];
      const row = { entity: "account", id: accountId, externalId, status: "taken", error: owner };
      return [[conclusion, [row as RowResult]] as const];
    }),
  );
}

function unwrittenRows(
  { received: answered, attempt }: Accepted,
  { rows, error }: Exclude<Mode, string>,
): RowResult[] {
  const unwritten = { status: rows, error };
  const received = withRestored(answered, attempt.sent);
  return [
    ...[received.customer ?? received.branch]
      .filter((externalId) => externalId !== null)
      .map((externalId) => ({
        entity: "account" as const,
        id: attempt.sent.accountId,
        externalId,
        ...unwritten,
      })),
    ...received.tiers.map((row) => ({ entity: "tier" as const, ...row, ...unwritten })),
    ...received.pics.map((row) => ({ entity: "pic" as const, ...row, ...unwritten })),
  ];
}

function toError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}
