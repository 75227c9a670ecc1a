/** Puts the story together with its parts: batches against the database, retries while it is away, and a net under it all. */

import type { Clock } from "../clock.ts";
import type { Connections } from "../customer-api/connections.ts";
import type { CustomerApi } from "../customer-api/customer-api.ts";
import type { ReceivedIds } from "../customer-command/match-ids.ts";
import type { TransformOptions } from "../customer-command/transform.ts";
import { batched } from "../db/batched.ts";
import {
  type Database,
  errorCode,
  isClosed,
  isContention,
  isNoRowsFault,
  isOutage,
} from "../db/database.ts";
import { type AwayRetry, retryWhileAway } from "../db/retry-while-away.ts";
import type { Observe } from "../ops/observe.ts";
import type { Lease } from "../queue/lease.ts";
import type { Claim, Queue } from "../queue/queue.ts";
import {
  type Answered,
  type Attempt,
  findIdOwners,
  journalAdoption,
  journalAnswers,
  journalSends,
  type Send,
} from "./attempt.ts";
import { loadForSync } from "./load-for-sync.ts";
import type { FailedRows, Outcome } from "./outcome.ts";
import type { Pace } from "./pace.ts";
import { type Conclusion, INCOMPLETE_TRIES, LATER, settleAll } from "./settle.ts";
import { syncAccount } from "./sync-account.ts";
import type { ParentState, SyncParts, SyncPolicy } from "./sync-parts.ts";

export interface SyncOptions {
  readonly clock: Clock;
  readonly db: Database;
  readonly queue: Queue;
  readonly api: CustomerApi;
  readonly connections: Pick<Connections, "of">;
  readonly mapping: TransformOptions;
  readonly policy: SyncPolicy;
  readonly pace: Pace;
  readonly observe: Observe;
}

/** One transaction settles at most so many accounts: about what a slot count ever finishes together. */
const BATCH_MAX = 64;

/**
 * Brings one claimed account to its outcome.
 *
 * @param adapt for somebody who brings the data to send, or wants to know what was sent and answered: the parts of this one sync
 */
export type Sync = (
  claim: Claim,
  lease: Lease,
  adapt?: (parts: SyncParts) => SyncParts,
) => Promise<Outcome | null>;

export function createSync(options: SyncOptions): Sync {
  const { clock, db, queue, observe, policy } = options;
  /** What an attempt came to is worth writing down even after its lease, until the process leaves; whether it may be is asked then. */
  const retrying = (doing: string, signal: AbortSignal): AwayRetry => ({
    clock,
    signal,
    onTrouble: (error) => observe.databaseTrouble({ doing, error }),
  });

  const settleParts = {
    clock,
    db,
    queue,
    delayAfter: policy.delayAfter,
    onTrouble: (error: unknown) =>
      observe.databaseTrouble({ doing: "waking accounts that wait", error }),
  };
  const settleBatch = batched<Conclusion, Outcome | null>(
    BATCH_MAX,
    (conclusions) => settleAll(settleParts, conclusions),
    (conclusion) => (conclusion.kind === "accepted" ? bytesOfIds(conclusion.received) : 0),
  );
  const sendBatch = batched<Send, Attempt | null>(
    BATCH_MAX,
    (sends) => journalSends(db, queue, sends),
    ({ body, sent, fieldFingerprints }) =>
      Buffer.byteLength(body) +
      (sent.tiers.length + sent.pics.length) * ID_BYTES_MAX +
      Object.keys(fieldFingerprints ?? {}).length * FIELD_BYTES_MAX,
  );
  const answerBatch = batched<Answered, true>(
    BATCH_MAX,
    async (answers) => {
      for (const stray of await journalAnswers(db, answers)) observe.strayCustomer(stray);
      return answers.map(() => true);
    },
    ({ received }) => bytesOfIds(received),
  );

  const ownerBatch = batched<{ externalId: string; accountId: string }, string | null>(
    BATCH_MAX,
    (owned) => findIdOwners(db, owned),
  );

  /** True only when the answer came before somebody else could have taken over again. */
  const isStillOurs = async (claim: Claim, leaving: AbortSignal): Promise<boolean> => {
    for (;;) {
      const begunAt = clock.now();
      const ours = await retryWhileAway(retrying("renewing a lease", leaving), () =>
        queue.renew([claim]),
      );
      if (!ours.has(claim.accountId)) return false;
      if (clock.now() - begunAt < queue.silenceMs) return true;
    }
  };

  const parts: SyncParts = {
    clock,
    load: batched(BATCH_MAX, (ids) => loadForSync(db, ids)),
    findParentCycle: async (accountId) => {
      const [cycle] = await db.run<{ members: string[] }>("find_parent_cycle", [[accountId]]);
      return cycle?.members ?? null;
    },
    findParentState: async (parentId) => {
      const [parent] = await db.run<{ state: ParentState }>("find_parent_state", [parentId]);
      return parent?.state ?? "missing";
    },
    ownerOf: (externalId, accountId) => ownerBatch({ externalId, accountId }),
    connection: (configId) => options.connections.of(configId),
    api: options.api,
    place: (baseUrl, signal) =>
      retryWhileAway(retrying("waiting for a place to send", signal), () =>
        options.pace.place(baseUrl, signal),
      ),
    async journalSend(send, leaving) {
      const begunAt = clock.now();
      const attempt = await retryWhileAway(retrying("journaling a send", leaving), () =>
        sendBatch(send),
      );
      if (attempt === null || clock.now() - begunAt < queue.silenceMs) return attempt;
      // Stopped for too long (SIGSTOP, a suspended machine): somebody else may have the account by now, however long the lease.
      return (await isStillOurs(send.claim, leaving)) ? attempt : null;
    },
    // What came back is kept in memory for as long as it takes, whatever the trouble is: the request cannot be taken back.
    async journalAnswer(answered, leaving) {
      await retryWhileAway(
        {
          ...retrying("journaling an answer", leaving),
          mayPass: (error) => !isClosed(error),
        },
        () => answerBatch(answered),
      );
    },
    adopt: (adoption, leaving) =>
      retryWhileAway(retrying("journaling what a lookup found", leaving), () =>
        journalAdoption(db, adoption),
      ),
    isStillOurs,
    async settle(conclusion, leaving) {
      const outcome = await retryWhileAway(retrying("settling", leaving), () =>
        settleBatch(conclusion),
      );
      if (outcome !== null) reportConflicts(observe, conclusion.claim, outcome);
      return outcome;
    },
    observe,
    mapping: options.mapping,
    policy,
  };

  return async (claim, lease, adapt = (unchanged) => unchanged) => {
    const adapted = adapt(parts);
    try {
      return await syncAccount(adapted, claim, lease);
    } catch (error) {
      if (isOutage(error) || isContention(error) || isClosed(error)) throw error;
      observe.warning("A sync failed in a way that was not foreseen", {
        account_id: claim.accountId,
        error,
      });
      return await adapted.settle(afterSurprise(claim, policy, error), lease.leaving);
    }
  };
}

/** A row's own id and its external one, which has at most 255 characters. */
const ID_BYTES_MAX = 1_000;

/** A path in the command and its fingerprint. */
const FIELD_BYTES_MAX = 60;

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

/** A poison account: tried again ever more slowly, then parked, so that it costs nobody else anything. */
function afterSurprise(claim: Claim, policy: SyncPolicy, error: unknown): Conclusion {
  const code = errorCode(error);
  const isEverybodys = isNoRowsFault(error);
  const isLastTry = !isEverybodys && claim.attempts + 1 >= INCOMPLETE_TRIES;
  return {
    kind: "ended",
    claim,
    generation: claim.generation,
    attempt: null,
    supersedes: null,
    name: isLastTry ? "parked" : "retry",
    errorClass: "database",
    // The message of an unforeseen error may carry a value of the row.
    error: `Failed in a way that was not foreseen (${code ?? (error instanceof Error ? error.name : typeof error)}); the log has the rest`,
    httpStatus: null,
    failed: [{ entity: "account", reason: "database", count: 1 }],
    warnings: 0,
    delivery: null,
    settlesAttempt: false,
    delayMs: policy.delayAfter(isEverybodys ? LATER : claim.attempts),
    countsAsAttempt: !isEverybodys,
    blockedBy: null,
    keepsRetry: false,
    durationMs: 0,
  };
}
