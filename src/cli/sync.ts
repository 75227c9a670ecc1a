/**
 * `sync`: brings some accounts to the API now, and tells what became of each.
 *
 * The request is durable, so whoever claims an account first does the work: a dispatcher of our own that sees these accounts only,
 * or a running daemon. Which of them it was makes no difference: the results are read from the history.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { Config } from "../config.ts";
import { onShutdownSignals } from "../ops/signals.ts";
import { type Parts, requireConnection } from "../parts.ts";
import { Dispatcher } from "../queue/dispatcher.ts";
import type { Claim, Queue } from "../queue/queue.ts";
import { type Connected, withParts } from "./connect.ts";
import { printJson } from "./output.ts";
import {
  type FinishedAttempt,
  type FollowedAccount,
  resultOf,
  type SyncResult,
  unfinishedResult,
} from "./sync-result.ts";

export interface SyncHow {
  readonly userId: string | null;
  readonly configId: string | null;
  readonly force: boolean;
  readonly timeoutMs: number;
  readonly json: boolean;
  readonly leave: (exitCode: number) => void;
}

const LOOK_EVERY_MS = 50;
/** On top of the API's own time limit, for writing back what came. */
const SETTLE_GRACE_MS = 5_000;

export async function sync(config: Config, ids: readonly string[], how: SyncHow): Promise<number> {
  const asked = new AbortController();
  // A request that is cut off may have been applied, and its create would wait for a human: what is under way is finished first.
  const signals = onShutdownSignals({
    first: () => asked.abort(),
    second: () => how.leave(1),
  });
  try {
    const results = await withParts(config, { json: how.json, sends: true }, (connected) =>
      syncAll(connected, ids, how, asked.signal),
    );
    return results.every((result) => result.success && result.processingResult.success) ? 0 : 1;
  } finally {
    signals.dispose();
  }
}

async function syncAll(
  connected: Connected,
  ids: readonly string[],
  how: SyncHow,
  asked: AbortSignal,
): Promise<readonly SyncResult[]> {
  const { parts, config } = connected;
  if (how.configId === null) await requireConnection(parts.connections);

  const canonical = await parts.db.run<{ accountId: string }>("canonical_ids", [ids]);
  const accountIds = [...new Set(canonical.map((row) => row.accountId))];
  const follow = await followAccounts(parts, accountIds);
  await parts.queue.request(accountIds, how);

  const results: SyncResult[] = [];
  const exchanges = new Map<string, Exchanged>();
  const tell = (ended: readonly SyncResult[]) => {
    for (const result of ended) {
      printJson({ ...result, ...exchanges.get(result.accountId) });
      results.push(result);
    }
  };
  const dispatcher = createDispatcher(connected, follow.pending, exchanges);
  dispatcher.start();
  const deadline = performance.now() + how.timeoutMs;
  try {
    while (follow.pending.size > 0 && performance.now() < deadline && !asked.aborted) {
      tell(await follow.look(deadline - performance.now()));
      await sleep(LOOK_EVERY_MS, undefined, { signal: asked }).catch(() => {});
    }
  } finally {
    await dispatcher.stop(config.api.timeoutMs + SETTLE_GRACE_MS);
  }
  if (follow.pending.size > 0) tell(await follow.look(0));
  tell(await follow.giveUp());
  return results;
}

/** What went to the API and came from it: known of the sends of this process alone, as the journal keeps neither. */
interface Exchanged {
  readonly customerData: unknown;
  readonly response: unknown;
}

/** Sees, claims and runs these accounts only; everything else is left to the daemon. */
function createDispatcher(
  { parts, config, observe }: Connected,
  pending: ReadonlySet<string>,
  exchanges: Map<string, Exchanged>,
): Dispatcher {
  const queue: Queue = {
    ...parts.queue,
    expand: async () => false,
    claim: (limit) => claimOf(parts.queue, pending, limit),
    nextDueInMs: async () => LOOK_EVERY_MS,
  };
  return new Dispatcher({
    clock: parts.clock,
    queue,
    run: (claim, lease) =>
      parts.sync(claim, lease, (adapted) => ({
        ...adapted,
        api: {
          ...adapted.api,
          async send(connection, request) {
            const result = await adapted.api.send(connection, request);
            exchanges.set(claim.accountId, {
              customerData: request.body === null ? null : JSON.parse(request.body),
              response: result.kind === "accepted" ? (result.body ?? null) : null,
            });
            return result;
          },
        },
      })),
    doorbell: { afterLook: async () => LOOK_EVERY_MS },
    ring: async () => {},
    // Somebody waits: when the API is not to be sent to, each account is told so instead of waiting for better times.
    availableInMs: () => 0,
    slots: () => Number.POSITIVE_INFINITY,
    observe: { ...observe, ran: () => {} },
    concurrency: config.sync.concurrency,
    sweepIntervalMs: LOOK_EVERY_MS,
  });
}

async function claimOf(
  queue: Queue,
  pending: ReadonlySet<string>,
  limit: number,
): Promise<Claim[]> {
  const claims: Claim[] = [];
  for (const accountId of pending) {
    if (claims.length === limit) break;
    const claim = await queue.claimOne(accountId);
    if (claim !== null) claims.push(claim);
  }
  return claims;
}

/**
 * Follows accounts to the end of the sync that is about to be requested: the first attempt younger than now that speaks for the
 * generation the request was folded into, or for a later one.
 */
async function followAccounts({ db }: Parts, accountIds: readonly string[]) {
  const [last] = await db.run<{ attemptId: string }>("last_attempt");
  const pending = new Set(accountIds);
  const wanted = new Map<string, bigint>();

  /** From one snapshot: an attempt and the row as it left it belong together. */
  async function read() {
    const ids = [...pending];
    const since = last?.attemptId ?? "0";
    return await db.transaction(async (tx) => {
      const accounts = await tx.run<FollowedAccount>("follow_accounts", [ids]);
      const attempts = await tx.run<FinishedAttempt>("attempts_since", [ids, since]);
      return { accounts, attemptsOf: Map.groupBy(attempts, (attempt) => attempt.accountId) };
    }, "repeatable read, read only");
  }

  return {
    pending,

    /** The results of those that have come to their end. */
    async look(remainingMs: number): Promise<SyncResult[]> {
      const { accounts, attemptsOf } = await read();
      const results = accounts.flatMap((account) => {
        const { accountId, generation, hasChanges } = account;
        if (generation === null || hasChanges) return [];
        if (!wanted.has(accountId)) wanted.set(accountId, BigInt(generation));

        const attempts = attemptsOf.get(accountId) ?? [];
        const own = attempts.find(
          (attempt) => BigInt(attempt.generation) >= (wanted.get(accountId) ?? 0n),
        );
        const rests = own === undefined && isAtRest(account, attempts.length > 0, remainingMs);
        return own === undefined && !rests ? [] : [resultOf(account, own ?? attempts.at(-1))];
      });
      for (const { accountId } of results) pending.delete(accountId);
      return results;
    },

    /** What is known of those that did not come to their end in time. */
    async giveUp(): Promise<SyncResult[]> {
      if (pending.size === 0) return [];
      const { accounts } = await read();
      pending.clear();
      return accounts.map(unfinishedResult);
    },
  };
}

/**
 * No attempt for what was asked will come in time: the account is set aside, or a send of before failed once more and is to be
 * finished first, or the backoff is longer than anybody waits.
 */
function isAtRest(account: FollowedAccount, wasTried: boolean, remainingMs: number): boolean {
  switch (account.state) {
    case "parked":
      return true;
    case "retrying":
    case "blocked":
      return (account.dueInMs ?? 0) > (wasTried ? 0 : remainingMs);
    default:
      return false;
  }
}
