/**
 * Once a minute: sets sequences that are behind, removes old history, revives parked accounts that were answered after all, wakes children
 * whose waker died. And once at all: takes the ids over that stood in the tables before there was a mapping.
 */
import { sleep } from "./clock.ts";
import type { Observe } from "./ops/observe.ts";
import { toApiUrl } from "./sync/home.ts";
import { type Takeover, takeOverIds, takeOverLater } from "./sync/take-over-ids.ts";
import { wakeForgottenChildren } from "./sync/wake-waiting.ts";
import type { Wiring } from "./wiring.ts";

const EVERY_MS = 60_000;

/** Begins at once: the process that died may have been this daemon's predecessor. Returns what ends it. */
export function startHousekeeping(
  wiring: Wiring,
  observe: Observe,
  historyRetentionDays: number,
): () => void {
  const steps = [
    // Behind, and no id has collided yet: rows that are newer would get lower ids.
    () => wiring.db.repairIdentities(),
    () => wiring.queue.removeOldHistory(historyRetentionDays),
    // Parked for an unknown outcome, and answered after all: a process died between the two.
    () => wiring.queue.reviveAnswered("all"),
    // Blocked, and the parent has its id: the same.
    () => wakeForgottenChildren(wiring),
  ];
  let isOver = false;
  const keepHouse = async () => {
    try {
      for (const step of steps) if (!isOver) await step();
    } catch (error) {
      // The pool may be closed by then.
      if (!isOver) observe.databaseTrouble({ doing: "keeping house", error });
    }
  };
  void keepHouse();
  const timer = setInterval(() => void keepHouse(), EVERY_MS);
  return () => {
    isOver = true;
    clearInterval(timer);
  };
}

/** Ids that stand in rows and are not in the mapping, as a walk over all accounts finds them. */
export async function mapLaterIds(
  { connections, db }: Pick<Wiring, "connections" | "db">,
  accountIds: readonly string[],
): Promise<void> {
  if (accountIds.length === 0) return;
  const connection = await connections.of(null);
  if ("error" in connection) return;
  const home = { configId: connection.configId, apiUrl: toApiUrl(connection) };
  await takeOverLater(db, accountIds, home);
}

/** Rests as long as it has worked, so that a million accounts cost half of one connection for a while. */
export function startIdTakeover(wiring: Wiring, observe: Observe): () => Promise<void> {
  const { clock, connections, db } = wiring;
  const stopping = new AbortController();
  const takeAllOver = async () => {
    for (let takeover: Takeover = "more"; takeover !== "done" && !stopping.signal.aborted; ) {
      const begunAt = clock.now();
      const connection = await connections.of(null);
      if ("error" in connection) {
        await sleep(clock, TAKEOVER_RETRY_MS, stopping.signal);
        continue;
      }
      const home = { configId: connection.configId, apiUrl: toApiUrl(connection) };
      takeover = await takeOverIds(db, home);
      if (takeover === "more") await sleep(clock, clock.now() - begunAt, stopping.signal);
      if (takeover === "elsewhere") await sleep(clock, TAKEOVER_RETRY_MS, stopping.signal);
    }
  };
  const keepTrying = async () => {
    while (!stopping.signal.aborted) {
      try {
        return await takeAllOver();
      } catch (error) {
        observe.databaseTrouble({ doing: "taking external ids over", error });
        await sleep(clock, TAKEOVER_RETRY_MS, stopping.signal);
      }
    }
  };
  const taking = keepTrying();
  return async () => {
    stopping.abort();
    await taking;
  };
}

const TAKEOVER_RETRY_MS = 5_000;

/** Accounts from before the first migrate are not sent by themselves: the log says how many there are. */
export async function reportUnqueued({ inspector }: Wiring, observe: Observe): Promise<void> {
  try {
    const accounts = await inspector.countUnqueued();
    if (accounts === 0) return;
    observe.info(
      "Accounts from before the first migrate are not sent until they change; to send them: `account-sync backfill`",
      { accounts },
    );
  } catch (error) {
    observe.databaseTrouble({ doing: "counting accounts", error });
  }
}
