/** `reconcile`: looks for accounts that drifted, and marks them in the slow lane; `--dry-run` only lists them. */
import { type Drift, findDrift } from "../capture/drift.ts";
import { type Drifted, reconcileNow, type Walk } from "../capture/reconcile.ts";
import type { Config } from "../config.ts";
import { withWiring } from "./connect.ts";
import { printJson, printLine } from "./output.ts";
import { warnOfObstacle } from "./warn-of-obstacle.ts";
import { counted, toDuration } from "./wording.ts";

const REASONS: Readonly<Record<Drift, string>> = {
  changed: "holds other data than were accepted last",
  ids_missing: "lacks external ids",
  customer_missing: "has no external id any more, and none is known: it is created anew",
};

export async function reconcile(
  config: Config,
  { dryRun, json }: { readonly dryRun: boolean; readonly json: boolean },
): Promise<number> {
  return await withWiring(config, { json }, async ({ wiring }) => {
    const walk = await reconcileNow(
      {
        clock: wiring.clock,
        db: wiring.db,
        findDrift: async (known) => (await findDrift(wiring.db, known, wiring.mapping)).drift,
        mark: (accountIds) => wiring.queue.markAccounts(accountIds),
      },
      { dryRun, onDrifted: (drifted) => printDrifted(drifted, json) },
    );
    if (json) printJson({ ...walk, marked: dryRun ? 0 : sumOf(walk) });
    else printLine(describe(walk, dryRun));
    if (!dryRun && sumOf(walk) > 0) await warnOfObstacle(wiring, json);
    return 0;
  });
}

function printDrifted({ accountId, drift }: Drifted, json: boolean): void {
  if (json) printJson({ accountId, drift });
  else printLine(`${accountId} ${REASONS[drift]}`);
}

function describe(walk: Walk, dryRun: boolean): string {
  const drifted = sumOf(walk);
  const looked = `Looked at ${counted(walk.lookedAt, "account")} in ${toDuration(walk.durationMs)}: ${drifted === 0 ? "none has drifted" : `${drifted} drifted`}.`;
  if (drifted === 0) return looked;
  return `${looked} ${dryRun ? "Nothing is marked." : "They are marked; a running daemon sends them when nothing else is due."}`;
}

function sumOf({ drifted }: Walk): number {
  return drifted.changed + drifted.ids_missing + drifted.customer_missing;
}
