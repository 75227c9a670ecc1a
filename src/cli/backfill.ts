/** `backfill`: marks accounts in the slow lane; with `--wait` shows the progress until the lane is empty. */
import { setTimeout as sleep } from "node:timers/promises";
import type { Config } from "../config.ts";
import type { Parts } from "../parts.ts";
import { withParts } from "./connect.ts";
import { printJson, printLine, printText, printWarning } from "./output.ts";
import { warnOfObstacle } from "./warn-of-obstacle.ts";
import { counted, toDuration } from "./wording.ts";

const LOOK_EVERY_MS = 500;
/** A line per look would be thousands of lines for a million accounts. */
const LINE_EVERY_MS = 5_000;
/** A daemon looks at least every SYNC_SWEEP_INTERVAL_MS, five seconds by default. */
const STILL_AFTER_MS = 15_000;
const BAR_WIDTH = 40;

export async function backfill(
  config: Config,
  how: { readonly which: "all" | "missing"; readonly waits: boolean; readonly json: boolean },
): Promise<number> {
  const { which, waits, json } = how;
  return await withParts(config, { json }, async ({ parts }) => {
    await parts.queue.mark(which);
    if (!json) {
      const marked = which === "all" ? "Every account" : "Every account that lacks an id";
      printLine(`${marked} is marked; a running daemon sends them when nothing else is due.`);
    } else if (!waits) {
      printJson({ marked: which });
    }
    await warnOfObstacle(parts, json);
    if (waits) await waitForBackfill(parts, json);
    return 0;
  });
}

/** Until the lane is empty. Parked accounts have left it; `status` shows them. */
async function waitForBackfill(parts: Parts, json: boolean): Promise<void> {
  const startedAt = performance.now();
  const progress = json ? jsonProgress() : process.stdout.isTTY === true ? bar() : lines();
  let most = 0;
  let last = "";
  let movedAt = startedAt;

  for (;;) {
    const { unfolded, pending } = await parts.inspector.backfill();
    const now = performance.now();
    most = Math.max(most, pending);
    progress.show({ unfolded, pending, most });
    if (unfolded === 0 && pending === 0) break;

    const current = `${unfolded} ${pending}`;
    if (current !== last) movedAt = now;
    last = current;
    if (now - movedAt > STILL_AFTER_MS) {
      await warnOfObstacle(parts, json);
      printWarning(
        `nothing has moved for ${toDuration(now - movedAt)}; \`account-sync status\` shows the queue. Ctrl-C ends this command; the accounts stay marked.`,
        json,
      );
      movedAt = now;
    }
    await sleep(LOOK_EVERY_MS);
  }
  progress.end(performance.now() - startedAt);
}

interface Remaining {
  /** Markers not expanded into accounts yet: how many accounts is not known. */
  readonly unfolded: number;
  readonly pending: number;
  readonly most: number;
}

interface Progress {
  show(remaining: Remaining): void;
  end(durationMs: number): void;
}

function lines(): Progress {
  let printedAt = Number.NEGATIVE_INFINITY;
  return {
    show({ unfolded, pending }) {
      if (performance.now() - printedAt < LINE_EVERY_MS) return;
      printedAt = performance.now();
      printLine(`${counted(pending, "account")} to go${unfolded > 0 ? ", still counting" : ""}`);
    },
    end: printDone,
  };
}

function bar(): Progress {
  return {
    show({ unfolded, pending, most }) {
      const done = most === 0 ? 0 : (most - pending) / most;
      const filled = Math.round(done * BAR_WIDTH);
      const drawn = `${"█".repeat(filled)}${"░".repeat(BAR_WIDTH - filled)}`;
      const counting = unfolded > 0 ? ", still counting" : "";
      process.stdout.write(`\r\x1b[K${drawn} ${most - pending} of ${most}${counting}`);
    },
    end(durationMs) {
      process.stdout.write("\r\x1b[K");
      printDone(durationMs);
    },
  };
}

function printDone(durationMs: number): void {
  printText(
    `All through after ${toDuration(durationMs)}; \`account-sync status\` shows what was parked.`,
  );
}

function jsonProgress(): Progress {
  return {
    show: ({ unfolded, pending }) =>
      printJson({ unfolded_markers: unfolded, pending_accounts: pending }),
    end: () => {},
  };
}
