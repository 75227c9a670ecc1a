/** The queue as `status` shows it: whether accounts are sent, how many are pending, and why some are kept back. */
import type { AccountStatus } from "../console/api.ts";
import { forPerson } from "../invocation.ts";
import type { PendingState } from "../ops/labels.ts";
import type { Sending } from "../queue/sending.ts";
import { describeSending, meaningOf, toSendingJson } from "../queue/sending-words.ts";
import { countSomeUnqueued } from "../queue/unqueued.ts";
import type { ErrorClass } from "../sync/outcome.ts";
import { findSending, type Wiring } from "../wiring.ts";
import { printJson, toTable } from "./output.ts";
import { counted, toDuration, toShortened } from "./wording.ts";

/** Lines to print; none with `json`, which prints its own. */
export async function describeQueue(wiring: Wiring, json: boolean): Promise<string[]> {
  const { db, inspector } = wiring;
  const sending = await findSending(wiring);
  const { byState, oldestPendingSeconds } = await inspector.status();
  const problems = await db.run<ProblemCount>("count_problems");
  const [unfolded] = await db.run<Unfolded>("count_unfolded", [CHANGES_COUNTED]);
  const { changes, markers, setAside } = unfolded ?? { changes: 0, markers: 0, setAside: 0 };
  const unqueued = await countSomeUnqueued(db, UNQUEUED_COUNTED);
  if (json) {
    printJson({
      pending_accounts: byState,
      oldest_pending_seconds: oldestPendingSeconds,
      sending: toSendingJson(sending),
      unfolded_changes: changes,
      unfolded_markers: markers,
      set_aside_markers: setAside,
      unqueued_accounts: unqueued,
      problems: problems.map(({ state, errorClass, count }) => ({
        state,
        error_class: errorClass,
        count,
      })),
    });
    return [];
  }

  const head = linesOf(sending);
  const total = Object.values(byState).reduce((sum, count) => sum + count, 0);
  const before = [
    ...describeUnfolded({ changes, markers, setAside }),
    ...describeUnqueued(unqueued),
  ];
  if (total === 0) {
    const isPending = changes + markers > 0;
    return [
      ...head,
      ...(isPending ? [] : ["Nothing is pending: every captured change has reached the API."]),
      ...before,
    ];
  }

  const rows = Object.entries(byState).map(([state, count]) => [
    state,
    String(count),
    count === 0 ? "" : forPerson(describeState(state as PendingState, problems, sending)),
  ]);
  return [
    ...head,
    describePending(byState, oldestPendingSeconds),
    ...before,
    "",
    ...toTable([["state", "accounts", ""], ...rows]),
    ...(byState.parked > 0 ? ["", ...(await listParked(inspector))] : []),
  ];
}

interface ProblemCount {
  readonly state: PendingState;
  readonly errorClass: ErrorClass;
  readonly count: number;
}

/** A parked account waits for a person, a blocked one for another account: neither is on its way. */
function describePending(byState: Readonly<Record<PendingState, number>>, oldest: number): string {
  const { parked, blocked, ...moving } = byState;
  const onTheirWay = Object.values(moving).reduce((sum, count) => sum + count, 0);
  if (onTheirWay > 0) {
    const total = counted(onTheirWay + parked + blocked, "account");
    return `${total} pending; the oldest change on its way is ${toDuration(oldest * 1_000)} old.`;
  }
  const are = (count: number) => (count === 1 ? "is" : "are");
  if (blocked === 0) return `${counted(parked, "account")} ${are(parked)} parked.`;
  if (parked === 0) return `${counted(blocked, "account")} ${are(blocked)} blocked.`;
  return `${counted(parked, "account")} ${are(parked)} parked, and ${blocked} ${are(blocked)} blocked.`;
}

const UNQUEUED_COUNTED = 100_000;

function describeUnqueued(count: number | null): string[] {
  if (count === null || count === 0) return [];
  const number =
    count === UNQUEUED_COUNTED ? `${UNQUEUED_COUNTED} accounts or more` : counted(count, "account");
  return [
    forPerson(
      `${number} from before the first migrate ${count === 1 ? "is" : "are"} not in the queue: \`account-sync backfill\` sends ${count === 1 ? "it" : "them"}.`,
    ),
  ];
}

interface Unfolded {
  readonly changes: number;
  readonly markers: number;
  readonly setAside: number;
}

/** Counting further would walk over the table, and a higher number says no more than this one. */
const CHANGES_COUNTED = 100_000;

function describeUnfolded({ changes, markers, setAside }: Unfolded): string[] {
  if (changes + markers === 0) return [];
  const number =
    changes === CHANGES_COUNTED ? `${CHANGES_COUNTED} changes or more` : counted(changes, "change");
  const also = markers === 0 ? "" : ` and ${counted(markers, "request")} for many accounts`;
  return [
    `${number}${also} captured a moment ago, or while no daemon runs: not counted as accounts yet.`,
    ...(setAside === 0
      ? []
      : [
          forPerson(
            `${counted(setAside, "request")} for many accounts ${setAside === 1 ? "is" : "are"} set aside and tried again: \`account-sync doctor\` says why.`,
          ),
        ]),
  ];
}

function linesOf(sending: Sending): string[] {
  const { line, remedy } = describeSending(sending);
  const lines = remedy === null ? [line] : [line, remedy];
  return lines.map(forPerson);
}

function describeState(
  state: PendingState,
  problems: readonly ProblemCount[],
  sending: Sending,
): string {
  const meaning = meaningOf(state, sending);
  const ofState = problems.filter((problem) => problem.state === state);
  if (ofState.length === 0) return meaning;
  const classes = ofState.map(({ errorClass, count }) => `${errorClass} ${count}`).join(", ");
  const isUnknown = ofState.some(({ errorClass }) => errorClass === "unknown_outcome");
  // The caution comes first: a retry without a lookup can create a second customer.
  const caution = isUnknown
    ? "a create may have happened, so look it up at the API before you retry; "
    : "";
  return `${classes}: ${caution}${meaning}`;
}

const PARKED_SHOWN = 10;
const WHY_SHOWN_MAX = 240;

async function listParked(inspector: Wiring["inspector"]): Promise<string[]> {
  const { accounts, nextCursor } = await inspector.accounts<AccountStatus>({
    state: "parked",
    cursor: null,
    limit: PARKED_SHOWN,
  });
  const rows = accounts.map((account) => [
    account.account_id,
    account.error_class ?? "",
    forPerson(toShortened(account.error ?? "", WHY_SHOWN_MAX)),
  ]);
  return [
    ...toTable([["parked account", "class", "why"], ...rows]),
    ...(nextCursor === null ? [] : ["… and more"]),
  ];
}
