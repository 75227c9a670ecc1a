/** `retry`: puts parked accounts back into the queue. */
import { callOn } from "../call-on.ts";
import type { Config } from "../config.ts";
import { callForPerson } from "../invocation.ts";
import { OperatorError } from "../operator-error.ts";
import type { ErrorClass } from "../sync/outcome.ts";
import { withWiring } from "./connect.ts";
import { printJson, printLine } from "./output.ts";
import { warnOfObstacle } from "./warn-of-obstacle.ts";
import { counted } from "./wording.ts";

export async function retry(
  config: Config,
  which: {
    readonly ids: readonly string[];
    readonly all: boolean;
    readonly errorClass: ErrorClass | null;
    /** Unfinished sends are given up as not applied. */
    readonly discard: boolean;
    readonly json: boolean;
  },
): Promise<number> {
  const { ids, all, errorClass, discard, json } = which;
  const namesNone = ids.length === 0 && !all && errorClass === null;
  if (namesNone || (ids.length > 0 && all)) {
    throw new OperatorError(
      namesNone ? "retry needs to know which accounts." : "retry takes ids or --all, not both.",
      {
        hint: "Name them (`account-sync retry <id> …`), or say --all, or --class <error class>; `account-sync status` shows what is parked.",
        exitCode: 2,
      },
    );
  }

  const retried = await withWiring(config, { json }, async ({ wiring }) => {
    const { length } = await wiring.queue.retry({
      ids: ids.length === 0 ? null : ids,
      errorClass,
      discard,
    });
    if (length > 0) await warnOfObstacle(wiring, json);
    return length;
  });

  if (json) printJson({ retried });
  else if (retried === 0) printLine("None of these was parked: nothing to put back.");
  else {
    const left = ids.length - retried;
    const others =
      left > 0 ? ` ${left} that you named ${left === 1 ? "was" : "were"} not parked.` : "";
    // Not "due at once": a create that may still be under way at the API is waited for.
    const [id] = ids;
    const call =
      ids.length === 1 && id !== undefined ? callOn("status", id) : "account-sync status <id>";
    printLine(
      `Put ${counted(retried, "parked account")} back.${others} \`${callForPerson(call)}\` tells when it is sent.`,
    );
  }
  return 0;
}
