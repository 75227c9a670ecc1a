/**
 * `sync`: brings some accounts to the API now, and tells what became of each.
 *
 * The request is durable, so the process that claims an account first does the work: a dispatcher of our own that sees these accounts
 * only, or a running daemon. Which of them it was makes no difference: the results are read from the history.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { canonicalIds } from "../account/canonical-ids.ts";
import type { Config } from "../config.ts";
import type { ApiFailure } from "../customer-api/customer-api.ts";
import { toDetails } from "../library/api-error.ts";
import type { RefusedResult } from "../library/results.ts";
import { onShutdownSignals } from "../ops/signals.ts";
import { Dispatcher } from "../queue/dispatcher.ts";
import { FoldLoop } from "../queue/fold-loop.ts";
import { UNLIMITED } from "../queue/room.ts";
import { requireConnection } from "../wiring.ts";
import { type Connected, withWiring } from "./connect.ts";
import { followAccounts } from "./follow.ts";
import { printJson } from "./output.ts";
import type { SyncReport } from "./sync-report.ts";

export interface SyncHow {
  readonly userId: string | null;
  readonly configId: string | null;
  readonly force: boolean;
  /** An id that stands is replaced by the one that the API answers. */
  readonly replace: boolean;
  readonly timeoutMs: number;
  readonly json: boolean;
  readonly leave: (exitCode: number) => void;
}

const LOOK_EVERY_MS = 50;
/** On top of the API's own time limit, for writing back what came. */
const SETTLE_GRACE_MS = 5_000;

export async function sync(config: Config, ids: readonly string[], how: SyncHow): Promise<number> {
  const asked = new AbortController();
  // A request that is cut off may have been applied, and its create would wait for a person: what is under way is finished first.
  const signals = onShutdownSignals({
    first: () => asked.abort(),
    second: () => how.leave(1),
  });
  try {
    const results = await withWiring(config, { json: how.json, sends: true }, (connected) =>
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
): Promise<readonly SyncReport[]> {
  const { wiring, config } = connected;
  if (how.configId === null) await requireConnection(wiring.connections);

  const accountIds = [...new Set(await canonicalIds(wiring.db, ids))];
  const follow = await followAccounts(wiring, accountIds);
  await wiring.queue.request(accountIds, how);

  const results: SyncReport[] = [];
  const exchanges = new Map<string, Exchanged>();
  const tell = (ended: readonly SyncReport[]) => {
    for (const result of ended) {
      printJson({ ...result, ...exchanges.get(result.accountId) });
      results.push(result);
    }
  };
  const dispatcher = createDispatcher(connected, follow.pending, exchanges);
  // The request is a change like any other, and no daemon may be there to fold it. Markers are left to the daemons.
  const foldLoop = new FoldLoop({
    clock: wiring.clock,
    fold: () => wiring.queue.fold(),
    expand: null,
    doorbell: { afterLook: async () => LOOK_EVERY_MS },
    onDue: () => dispatcher.wake(),
    observe: connected.observe,
    sweepIntervalMs: LOOK_EVERY_MS,
  });
  dispatcher.start();
  foldLoop.start();
  const deadline = performance.now() + how.timeoutMs;
  try {
    while (follow.pending.size > 0 && performance.now() < deadline && !asked.aborted) {
      tell(await follow.look(deadline - performance.now()));
      await sleep(LOOK_EVERY_MS, undefined, { signal: asked }).catch(() => {});
    }
  } finally {
    await foldLoop.stop();
    await dispatcher.stop(config.api.timeoutMs + SETTLE_GRACE_MS);
  }
  if (follow.pending.size > 0) tell(await follow.look(0));
  tell(await follow.giveUp());
  return results;
}

/** What went to the API and came from it: known only of the sends of this process, as the journal keeps neither. */
interface Exchanged {
  readonly customerData: unknown;
  readonly response: unknown;
  /** Where the API refused, or did not answer. */
  readonly details?: RefusedResult["details"];
}

/** Its source of due accounts are these accounts only; everything else is left to the daemon. */
function createDispatcher(
  { wiring, config, observe }: Connected,
  pending: ReadonlySet<string>,
  exchanges: Map<string, Exchanged>,
): Dispatcher {
  const { queue } = wiring;
  return new Dispatcher({
    clock: wiring.clock,
    due: {
      leaseMs: queue.leaseMs,
      silenceMs: queue.silenceMs,
      claim: (limit) => queue.claim(limit, [...pending]),
      nextDueInMs: async () => LOOK_EVERY_MS,
      renew: (claims) => queue.renew(claims),
      release: (claims) => queue.release(claims),
    },
    run: (claim, lease) =>
      wiring.sync(claim, lease, {
        onResult: (send, result) =>
          exchanges.set(claim.accountId, {
            customerData: send.operation === "delete" ? null : JSON.parse(send.body),
            response: result.kind === "accepted" ? (result.body ?? null) : null,
            ...(result.kind === "failed" && { details: detailsOf(result.failure) }),
          }),
      }),
    capacity: UNLIMITED,
    onMoreDue: async () => {},
    observe: { ...observe, ran: () => {} },
    concurrency: config.sync.concurrency,
    slots: wiring.slots,
    sweepIntervalMs: LOOK_EVERY_MS,
  });
}

function detailsOf(failure: ApiFailure): RefusedResult["details"] {
  const { httpStatus, errorClass, delivery, message } = failure;
  return toDetails(failure, { httpStatus, errorClass, delivery, explanation: message });
}
