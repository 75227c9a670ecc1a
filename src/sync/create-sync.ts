/** Wires the sync of one account: batched statements, repetition while the database is away, and what is done about unforeseen errors. */
import type { LastSource } from "../account/load.ts";
import type { Home } from "../account/mapped-ids.ts";
import type { Clock } from "../clock.ts";
import type { Connections } from "../customer-api/connections.ts";
import type { CustomerApi } from "../customer-api/customer-api.ts";
import type { ReceivedIds } from "../customer-command/match-ids.ts";
import type { TransformOptions } from "../customer-command/transform.ts";
import { batched } from "../db/batched.ts";
import type { Database } from "../db/database.ts";
import { isClosed, isContention, isOutage } from "../db/error-code.ts";
import { type AwayRetry, retryWhileAway } from "../db/retry-while-away.ts";
import type { Observe } from "../ops/observe.ts";
import type { Lease } from "../queue/lease.ts";
import type { Claim, Queue } from "../queue/queue.ts";
import { adoptCustomer, findIdOwners, type OwnedId } from "./adopt.ts";
import { settleEnded } from "./conclude.ts";
import type { Conclusion } from "./conclusion.ts";
import { failedUnforeseen } from "./endings.ts";
import { toAnswers } from "./finish-attempts.ts";
import {
  type AddressedSend,
  type Answered,
  type Journaled,
  journalAnswers,
  journalSends,
  type StrayCustomer,
} from "./journal.ts";
import { type Loaded, loadForSync } from "./load-for-sync.ts";
import { rowOf } from "./map-ids.ts";
import { findMappedElsewhere } from "./mapped-elsewhere.ts";
import type { FailedRows, Outcome } from "./outcome.ts";
import type { SyncPolicy } from "./policy.ts";
import type { RateLimit } from "./rate-limit.ts";
import { settleAll } from "./settle.ts";
import { end } from "./step.ts";
import { syncAccount } from "./sync-account.ts";
import type { SyncCaller } from "./sync-caller.ts";
import { beginSync } from "./sync-context.ts";
import type { ParentState, SyncWiring } from "./sync-wiring.ts";
import { createTurns } from "./turns.ts";

export interface SyncOptions {
  readonly clock: Clock;
  readonly db: Database;
  readonly queue: Queue;
  readonly api: CustomerApi;
  readonly connections: Pick<Connections, "of">;
  readonly mapping: TransformOptions;
  readonly policy: SyncPolicy;
  readonly rateLimit: RateLimit;
  readonly slots: SyncWiring["slots"];
  readonly observe: Observe;
}

/** One transaction loads, journals or settles at most so many accounts. */
const BATCH_MAX = 128;

/** Accounts that are prepared before answers that came in meanwhile are read: about a millisecond. */
const PREPARED_PER_TURN = 8;

/** Brings one claimed account to its outcome. Resolves null when the lease was lost. */
export type Sync = (claim: Claim, lease: Lease, caller?: SyncCaller) => Promise<Outcome | null>;

export function createSync(options: SyncOptions): Sync {
  const { clock, db, queue, observe, policy } = options;
  /** The result of an attempt is worth recording even after its lease, until the process leaves; whether it may be is checked then. */
  const retrying = (doing: string, signal: AbortSignal): AwayRetry => ({
    clock,
    signal,
    onTrouble: (error) => observe.databaseTrouble({ doing, error }),
  });

  const lastSource: LastSource = { source: null };
  const settleOptions = {
    clock,
    db,
    queue,
    delayAfter: policy.delayAfter,
    lastSource,
    onStray: (stray: StrayCustomer) => observe.strayCustomer(stray),
    onTrouble: (error: unknown) =>
      observe.databaseTrouble({ doing: "waking accounts that wait", error }),
  };
  const settleBatch = batched<Conclusion, Outcome | null>(
    BATCH_MAX,
    (conclusions) => settleAll(settleOptions, conclusions),
    (conclusion) => (conclusion.kind === "accepted" ? bytesOfIds(conclusion.received) : 0),
  );
  const sendBatch = batched<AddressedSend, Journaled>(
    BATCH_MAX,
    (sends) => journalSends(db, queue, sends),
    ({ send: { body, sent, fieldFingerprints } }) =>
      Buffer.byteLength(body) +
      (sent.tiers.length + sent.pics.length) * ID_BYTES_MAX +
      (fieldFingerprints === null ? 0 : JSON.stringify(fieldFingerprints).length),
  );
  const answerBatch = batched<Answered, true>(
    BATCH_MAX,
    async (answers) => {
      for (const stray of await journalAnswers(db, answers)) observe.strayCustomer(stray);
      return answers.map(() => true);
    },
    ({ received }) => bytesOfIds(received),
  );

  const ownerBatch = batched<OwnedId, string | null>(BATCH_MAX, (owned) =>
    findIdOwners(db, owned, "rows too"),
  );
  const installationId = readOnce(async () => {
    const [row] = await db.run<{ installationId: string }>("installation_id");
    if (row === undefined) throw new Error("account_sync.installation is empty");
    return row.installationId;
  });

  /** True only when the answer came before another process could have taken over again. */
  const isStillOurs = async (claim: Claim, signal: AbortSignal): Promise<boolean> => {
    for (;;) {
      const begunAt = clock.now();
      const ours = await retryWhileAway(retrying("renewing a lease", signal), () =>
        queue.renew([claim]),
      );
      if (!ours.has(claim.accountId)) return false;
      if (clock.now() - begunAt < queue.silenceMs) return true;
    }
  };

  // What came back is kept in memory for as long as it takes, whatever the trouble is: the request cannot be taken back.
  const journalAnswer = async (answered: Answered, signal: AbortSignal) => {
    const retry = retrying("journaling an answer", signal);
    await retryWhileAway({ ...retry, mayPass: (error) => !isClosed(error) }, () =>
      answerBatch(answered),
    );
  };
  const settle = async (conclusion: Conclusion, signal: AbortSignal) => {
    const [answer] = toAnswers([conclusion]);
    if (answer === undefined || conclusion.kind === "ended")
      return await retryWhileAway(retrying("settling", signal), () => settleBatch(conclusion));
    try {
      return await settleBatch(conclusion);
    } catch (error) {
      observe.databaseTrouble({ doing: "settling", error });
    }
    await journalAnswer(answer, signal);
    return await retryWhileAway(retrying("settling", signal), () =>
      settleBatch({ ...conclusion, isJournaled: true }),
    );
  };

  const loadBatch = batched<string, Loaded>(BATCH_MAX, (ids) => loadForSync(db, ids, lastSource));
  const turn = createTurns(PREPARED_PER_TURN);
  const wiring: SyncWiring = {
    clock,
    async load(accountId) {
      const loaded = await loadBatch(accountId);
      await turn();
      return loaded;
    },
    findParentCycle: async (accountId) => {
      const [cycle] = await db.run<{ members: string[] }>("find_parent_cycle", [[accountId]]);
      return cycle?.members ?? null;
    },
    findParentState: async (parentId) => {
      const [parent] = await db.run<{ state: ParentState }>("find_parent_state", [parentId]);
      return parent?.state ?? "missing";
    },
    ownerOf: ownerBatch,
    lastHome: async (accountId) => {
      const [home = null] = await db.run<Home>("last_home", [accountId]);
      return home;
    },
    findMappedElsewhere: (accountId, rows) => findMappedElsewhere(db, accountId, rows),
    installationId,
    connection: (configId) => options.connections.of(configId),
    api: options.api,
    waitForTurn: (signal) =>
      retryWhileAway(retrying("waiting for a turn to send", signal), () =>
        options.rateLimit.waitForTurn(signal),
      ),
    askedWaitMs: (baseUrl) => options.rateLimit.askedWaitMs(baseUrl),
    slots: options.slots,
    async journalSend(addressed, signal) {
      const begunAt = clock.now();
      const journaled = await retryWhileAway(retrying("journaling a send", signal), () =>
        sendBatch(addressed),
      );
      if (journaled.kind !== "attempt" || clock.now() - begunAt < queue.silenceMs) return journaled;
      // Stopped for too long (SIGSTOP, a suspended machine): another process may have the account by now, however long the lease.
      return (await isStillOurs(addressed.send.claim, signal)) ? journaled : { kind: "not ours" };
    },
    journalAnswer,
    adopt: (adoption, signal) =>
      retryWhileAway(retrying("journaling what a lookup found", signal), () =>
        adoptCustomer(db, queue, adoption),
      ),
    isStillOurs,
    async settle(conclusion, signal) {
      const outcome = await settle(conclusion, signal);
      if (outcome !== null) {
        reportConflicts(observe, conclusion.claim, outcome);
        reportMended(observe, conclusion, outcome);
      }
      return outcome;
    },
    observe,
    mapping: options.mapping,
    policy,
  };

  return async (claim, lease, caller = {}) => {
    const sync = beginSync(wiring, claim, lease, caller);
    try {
      return await syncAccount(sync);
    } catch (error) {
      if (isOutage(error) || isContention(error) || isClosed(error)) throw error;
      observe.warning("A sync failed in a way that was not foreseen", {
        account_id: claim.accountId,
        error,
      });
      return await settleEnded(sync, end(failedUnforeseen(policy, claim, error)));
    }
  };
}

/** A read that failed is tried again. */
function readOnce<Value>(read: () => Promise<Value>): () => Promise<Value> {
  let reading: Promise<Value> | null = null;
  return () => {
    reading ??= read().catch((error: unknown) => {
      reading = null;
      throw error;
    });
    return reading;
  };
}

/** A row's own id and its external one, which has at most 255 characters. */
const ID_BYTES_MAX = 1_000;

function bytesOfIds({ tiers, pics }: ReceivedIds): number {
  return (tiers.length + pics.length) * ID_BYTES_MAX;
}

/** Once per conflict: while other ids of the answer still wait to be written, all of it comes here again. */
function reportConflicts(
  observe: Pick<Observe, "idConflict">,
  { accountId }: Claim,
  { errorClass, failed }: Outcome,
): void {
  if (errorClass === "database") return;
  const isConflict = ({ reason }: FailedRows) => reason === "id_conflict";
  for (const { entity, count } of failed.filter(isConflict))
    for (let told = 0; told < count; told += 1) observe.idConflict({ accountId, entity });
}

function reportMended(
  observe: Pick<Observe, "idsMended">,
  conclusion: Conclusion,
  { errorClass, rows = [] }: Outcome,
): void {
  if (conclusion.kind !== "accepted" || errorClass === "database") return;
  const { restored = [], unmapped = [] } = conclusion.attempt.sent;
  const written = new Set(
    rows.filter(({ status }) => status === "written").map(({ entity, id }) => `${entity} ${id}`),
  );
  const mended = {
    restored: restored.filter(({ entity, id }) => written.has(`${rowOf(entity)} ${id}`)).length,
    followed: unmapped.filter(({ mappedAs }) => mappedAs !== null).length,
  };
  if (mended.restored + mended.followed > 0)
    observe.idsMended({ accountId: conclusion.claim.accountId, ...mended });
}
