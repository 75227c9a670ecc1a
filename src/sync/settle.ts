/**
 * Ends syncs: in one transaction the answers are journaled, the ids written back, the attempts finished and the accounts settled, for all
 * accounts that came to their end together. Fenced by the lease: of an account that another worker has taken over only the answer is kept.
 *
 * Where that transaction fails, the answers are journaled alone before anything else is tried: until then only this process has the ids.
 */
import type { LastSource } from "../account/load.ts";
import { describeSource } from "../account/source.ts";
import type { Clock } from "../clock.ts";
import type { Database, Transaction } from "../db/database.ts";
import { isContention, isOutage } from "../db/error-code.ts";
import { toError } from "../db/to-error.ts";
import type { Queue } from "../queue/queue.ts";
import { isSameId, toComparableId } from "../same-id.ts";
import { findMappedOwners, type OwnedId } from "./adopt.ts";
import type { Accepted, Conclusion } from "./conclusion.ts";
import { finishAttempts, toAnswers } from "./finish-attempts.ts";
import { journalAnswers, type StrayCustomer } from "./journal.ts";
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
  /** Whether there is a column for the branch's id. */
  readonly lastSource: LastSource;
  readonly onStray: (stray: StrayCustomer) => void;
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
  let failure: unknown;
  try {
    return await settleTogether(options, conclusions, "together");
  } catch (error) {
    if (isOutage(error)) throw error;
    failure = error;
  }
  // A column may be gone.
  options.lastSource.source = null;
  for (const stray of await journalAnswers(options.db, toAnswers(conclusions)))
    options.onStray(stray);

  const journaled = conclusions.map(
    (conclusion): Conclusion =>
      conclusion.kind === "accepted" ? { ...conclusion, isJournaled: true } : conclusion,
  );
  // The whole table is locked (a migration, an index being built): each account alone would wait as long.
  if (isContention(failure))
    return await settleTogether(options, journaled, { rows: "locked", error: failure });
  // Something in the batch is refused by the database: one by one, so that a bad row costs only itself.
  const outcomes: (Outcome | null | Error)[] = [];
  for (const conclusion of journaled) outcomes.push(await settleAlone(options, conclusion));
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
  const { decisions, strays } = await db.transaction(async (tx) => {
    const held = await queue.lockLeases(
      tx,
      conclusions.map(({ claim }) => claim),
    );
    const ours = conclusions.filter(({ claim }) => held.has(claim.accountId));
    const lost = conclusions.filter(({ claim }) => !held.has(claim.accountId));
    const rows = await writeReceivedIds(tx, ours, mode, options.lastSource);
    const decided = ours.map((conclusion) =>
      decide(conclusion, rows.get(conclusion) ?? [], {
        delayAfter,
        random: () => clock.random(),
      }),
    );

    const [finished, lateAnswers] = await Promise.all([
      finishAttempts(tx, decided),
      journalAnswers(tx, toAnswers(lost)),
      mapIds(tx, decided),
      queue.settle(
        tx,
        decided.map(({ settlement }) => settlement),
      ),
    ]);
    return { decisions: decided, strays: [...finished, ...lateAnswers] };
  });
  for (const stray of strays) options.onStray(stray);

  // Settled already: a child that is not woken here finds its parent at its next recheck.
  await wakeWaiting(options, conclusions, decisions).catch(options.onTrouble);
  const outcomes = new Map(decisions.map(({ conclusion, outcome }) => [conclusion, outcome]));
  return conclusions.map((conclusion) => outcomes.get(conclusion) ?? null);
}

async function writeReceivedIds(
  tx: Transaction,
  conclusions: readonly Conclusion[],
  mode: Mode,
  last: LastSource,
): Promise<Map<Conclusion, RowResult[]>> {
  const accepted = conclusions.filter((conclusion) => conclusion.kind === "accepted");
  if (accepted.length === 0) return new Map();
  if (typeof mode === "object") {
    return new Map(accepted.map((conclusion) => [conclusion, unwrittenRows(conclusion, mode)]));
  }
  const [taken, { hasBranchIds }] = await Promise.all([
    findTaken(tx, accepted),
    last.source ?? describeSource(tx),
    tx.run("limit_lock_waits", [LOCK_WAIT_MS]),
  ]);
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
