/** `retry`: puts parked accounts back into the queue. */
import { canonicalIds } from "../account/canonical-ids.ts";
import { callOn } from "../call-on.ts";
import type { Config } from "../config.ts";
import { callForPerson } from "../invocation.ts";
import { OperatorError } from "../operator-error.ts";
import type { ErrorClass } from "../sync/outcome.ts";
import type { Wiring } from "../wiring.ts";
import { readSource } from "./account-report.ts";
import { withWiring } from "./connect.ts";
import { printJson, printLine } from "./output.ts";
import type { FollowedAccount } from "./sync-report.ts";
import { warnOfObstacle } from "./warn-of-obstacle.ts";
import { counted } from "./wording.ts";

interface RetryWhich {
  readonly ids: readonly string[];
  readonly all: boolean;
  readonly errorClass: ErrorClass | null;
  /** Unfinished sends are given up as not applied. */
  readonly discard: boolean;
  readonly json: boolean;
}

export async function retry(config: Config, which: RetryWhich): Promise<number> {
  requireSelection(which);
  const { ids, errorClass, discard, json } = which;

  const { retried, left } = await withWiring(config, { json }, async ({ wiring }) => {
    const named = [...new Set(await canonicalIds(wiring.db, ids))];
    const back = new Set(
      await wiring.queue.retry({ ids: ids.length === 0 ? null : named, errorClass, discard }),
    );
    if (back.size > 0) await warnOfObstacle(wiring, json);
    const others = named.filter((id) => !back.has(id));
    return { retried: [...back], left: await readLeft(wiring, others) };
  });

  if (json) printJson({ retried: retried.length });
  else for (const line of describe(retried, left, which)) printLine(line);

  const unknown = left.filter(({ isThere }) => !isThere).map(({ accountId }) => accountId);
  if (unknown.length > 0) {
    throw new OperatorError(
      `There is no account ${unknown.slice(0, NAMED_MAX).join(", ")}${unknown.length > NAMED_MAX ? `, and ${unknown.length - NAMED_MAX} more` : ""}.`,
      { hint: "Ids are those of m_account.id; account-sync knows nothing of account numbers." },
    );
  }
  return 0;
}

/** Accounts named in one sentence. */
const NAMED_MAX = 20;

function requireSelection({ ids, all, errorClass }: RetryWhich): void {
  const namesNone = ids.length === 0 && !all && errorClass === null;
  if (!namesNone && !(ids.length > 0 && all)) return;
  throw new OperatorError(
    namesNone ? "retry needs to know which accounts." : "retry takes ids or --all, not both.",
    {
      hint: "Name them (`account-sync retry <id> …`), or say --all, or --class <error class>; `account-sync status` shows what is parked.",
      exitCode: 2,
    },
  );
}

/** An account that was named and not put back. */
interface LeftAccount {
  readonly accountId: string;
  readonly state: FollowedAccount["state"];
  readonly isThere: boolean;
}

async function readLeft(wiring: Wiring, ids: readonly string[]): Promise<LeftAccount[]> {
  if (ids.length === 0) return [];
  const followed = await wiring.db.run<FollowedAccount>("follow_accounts", [ids]);
  const left: LeftAccount[] = [];
  for (const { accountId, state } of followed) {
    const isThere = state !== null || (await readSource(wiring, accountId)) !== null;
    left.push({ accountId, state, isThere });
  }
  return left;
}

function describe(
  retried: readonly string[],
  left: readonly LeftAccount[],
  { ids, discard }: RetryWhich,
): string[] {
  const there = left.filter(({ isThere }) => isThere);
  const lines = there.slice(0, NAMED_MAX).map(({ accountId, state }) => {
    const stands = state === null ? "not in the queue" : state;
    return discard
      ? `Account ${accountId} is ${stands}: it has no unfinished send to give up.`
      : `Account ${accountId} is ${stands}, not parked: nothing to put back.`;
  });
  if (there.length > NAMED_MAX) lines.push(`So are ${there.length - NAMED_MAX} more.`);
  if (retried.length === 0) {
    return ids.length > 0
      ? lines
      : [discard ? "There was nothing to give up." : "None was parked: nothing to put back."];
  }

  // Not "due at once": a create that may still be under way at the API is waited for.
  const [id] = retried;
  const call =
    retried.length === 1 && id !== undefined ? callOn("status", id) : "account-sync status <id>";
  const did = discard
    ? `Put ${counted(retried.length, "account")} back: an unfinished send is given up, and current data go out.`
    : `Put ${counted(retried.length, "parked account")} back.`;
  return [...lines, `${did} \`${callForPerson(call)}\` tells when it is sent.`];
}
