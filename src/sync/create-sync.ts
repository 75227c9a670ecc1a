/** Wires the sync of one account: batched statements, repetition while the database is away, and what is done about unforeseen errors. */
import type { LastSource } from "../account/load.ts";
import type { Home } from "../account/mapped-ids.ts";
import type { Clock } from "../clock.ts";
import type { Connections } from "../customer-api/connections.ts";
import type { CustomerApi } from "../customer-api/customer-api.ts";
import type { TransformOptions } from "../customer-command/transform.ts";
import type { Database } from "../db/database.ts";
import { isClosed, isContention, isOutage } from "../db/error-code.ts";
import { type AwayRetry, retryWhileAway } from "../db/retry-while-away.ts";
import type { Observe } from "../ops/observe.ts";
import type { Lease } from "../queue/lease.ts";
import type { Claim, Queue } from "../queue/queue.ts";
import { adoptCustomer, findIdOwners, type OwnedId } from "./adopt.ts";
import { batchedAccounts, bytesOfIds } from "./batch.ts";
import { settleEnded } from "./conclude.ts";
import { failedUnforeseen } from "./endings.ts";
import { type AddressedSend, type Journaled, journalSends } from "./journal.ts";
import { type Loaded, loadForSync } from "./load-for-sync.ts";
import { findMappedElsewhere } from "./mapped-elsewhere.ts";
import type { Outcome } from "./outcome.ts";
import { createPauses } from "./pauses.ts";
import type { SyncPolicy } from "./policy.ts";
import type { RateLimit } from "./rate-limit.ts";
import { createSettling } from "./settling.ts";
import { end } from "./step.ts";
import { syncAccount } from "./sync-account.ts";
import type { SyncCaller } from "./sync-caller.ts";
import { beginSync } from "./sync-context.ts";
import type { ParentState, SyncWiring } from "./sync-wiring.ts";

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
  const { delayAfter } = policy;
  const sendBatch = batchedAccounts<AddressedSend, Journaled>(
    (sends) => journalSends(db, queue, sends),
    ({ send: { body, sent, fieldFingerprints } }) =>
      Buffer.byteLength(body) +
      bytesOfIds(sent) +
      (fieldFingerprints === null ? 0 : JSON.stringify(fieldFingerprints).length),
  );
  const ownerBatch = batchedAccounts<OwnedId, string | null>((owned) =>
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

  const loadBatch = batchedAccounts<string, Loaded>((ids) => loadForSync(db, ids, lastSource));
  const pause = createPauses(PREPARED_PER_TURN);
  const wiring: SyncWiring = {
    clock,
    async load(accountId) {
      const loaded = await loadBatch(accountId);
      await pause();
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
    ...createSettling({ clock, db, queue, delayAfter, lastSource, observe, retrying }),
    adopt: (adoption, signal) =>
      retryWhileAway(retrying("journaling what a lookup found", signal), () =>
        adoptCustomer(db, queue, adoption),
      ),
    isStillOurs,
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
