/** Housekeeping: what no loop of the daemon does, once a minute: old history, what was heard, what a process that died did not finish. */
import type { Observe } from "./ops/observe.ts";
import type { Parts } from "./parts.ts";
import { wakeForgottenChildren } from "./sync/wake-children.ts";

const EVERY_MS = 60_000;

/** Begins at once: the process that died may have been this daemon's predecessor. Returns what ends it. */
export function startHousekeeping(
  parts: Parts,
  observe: Observe,
  historyRetentionDays: number,
): () => void {
  const keepHouse = async () => {
    try {
      await parts.queue.forget(historyRetentionDays);
      // Parked for an unknown outcome, and answered after all: a process died between the two.
      await parts.queue.reviveAnswered("all");
      // Blocked, and the parent has its id: the same.
      await wakeForgottenChildren(parts);
    } catch (error) {
      observe.databaseTrouble({ doing: "keeping house", error });
    }
  };
  void keepHouse();
  const timer = setInterval(() => void keepHouse(), EVERY_MS);
  return () => clearInterval(timer);
}

/** Accounts from before the first migrate are not sent by themselves: the log says how many there are. */
export async function reportUnqueued({ inspector }: Parts, observe: Observe): Promise<void> {
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
