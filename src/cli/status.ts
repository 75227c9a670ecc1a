/** `status`: the queue at a glance, or everything about one account. */
import { callOn } from "../call-on.ts";
import type { Config } from "../config.ts";
import type { AccountDetail, AccountStatus, HistoryRow } from "../console/api.ts";
import { callForPerson, forPerson } from "../invocation.ts";
import { OperatorError } from "../operator-error.ts";
import type { PendingState } from "../ops/labels.ts";
import { findSending, type Parts } from "../parts.ts";
import type { Sending } from "../queue/sending.ts";
import { describeSending, meaningOf, toSendingJson } from "../queue/sending-words.ts";
import { countSomeUnqueued } from "../queue/unqueued.ts";
import type { ErrorClass } from "../sync/outcome.ts";
import { type AccountFacts, adviseOn, type ParentFacts } from "./account-advice.ts";
import { withParts } from "./connect.ts";
import { counted, printJson, printLine, toDuration, toShortened, toTable } from "./output.ts";
import type { FollowedAccount } from "./sync-report.ts";

export async function status(
  config: Config,
  id: string | null,
  { json }: { readonly json: boolean },
): Promise<number> {
  const lines = await withParts(config, { json }, async ({ parts }) =>
    id === null ? await describeQueue(parts, json) : await describeAccount(parts, id, json),
  );
  for (const line of lines) printLine(line);
  return 0;
}

interface Problem {
  readonly state: PendingState;
  readonly errorClass: ErrorClass;
  readonly count: number;
}

async function describeQueue(parts: Parts, json: boolean): Promise<string[]> {
  const { db, inspector } = parts;
  const sending = await findSending(parts);
  const { byState, oldestPendingSeconds } = await inspector.status();
  const problems = await db.run<Problem>("count_problems");
  const [unfolded] = await db.run<Unfolded>("count_unfolded", [CHANGES_COUNTED]);
  const { changes, markers } = unfolded ?? { changes: 0, markers: 0 };
  const unqueued = await countSomeUnqueued(db, UNQUEUED_COUNTED);
  if (json) {
    printJson({
      pending_accounts: byState,
      oldest_pending_seconds: oldestPendingSeconds,
      sending: toSendingJson(sending),
      unfolded_changes: changes,
      unfolded_markers: markers,
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
  const before = [...describeUnfolded({ changes, markers }), ...describeUnqueued(unqueued)];
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

/** What is parked waits for a person, and what is blocked for another account: neither is on its way. */
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
}

/** A number beyond this says no more than the number itself, and takes a walk over the table. */
const CHANGES_COUNTED = 100_000;

function describeUnfolded({ changes, markers }: Unfolded): string[] {
  if (changes + markers === 0) return [];
  const number =
    changes === CHANGES_COUNTED ? `${CHANGES_COUNTED} changes or more` : counted(changes, "change");
  const also = markers === 0 ? "" : ` and ${counted(markers, "request")} for many accounts`;
  return [
    `${number}${also} captured a moment ago, or while no daemon runs: not counted as accounts yet.`,
  ];
}

function linesOf(sending: Sending): string[] {
  const { line, remedy } = describeSending(sending);
  const lines = remedy === null ? [line] : [line, remedy];
  return lines.map(forPerson);
}

function describeState(
  state: PendingState,
  problems: readonly Problem[],
  sending: Sending,
): string {
  const meaning = meaningOf(state, sending);
  const ofState = problems.filter((problem) => problem.state === state);
  if (ofState.length === 0) return meaning;
  const classes = ofState.map(({ errorClass, count }) => `${errorClass} ${count}`).join(", ");
  const isUnknown = ofState.some(({ errorClass }) => errorClass === "unknown_outcome");
  // Said first: a retry without a look can make a second customer.
  const caution = isUnknown
    ? "a create may have happened, so look it up at the API before you retry; "
    : "";
  return `${classes}: ${caution}${meaning}`;
}

const PARKED_SHOWN = 10;
const WHY_SHOWN_MAX = 240;

async function listParked(inspector: Parts["inspector"]): Promise<string[]> {
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

async function describeAccount(parts: Parts, id: string, json: boolean): Promise<string[]> {
  const account = await parts.inspector.account<AccountStatus, HistoryRow>(id);
  const facts = await readFacts(parts, id, account);
  const advice = adviseOn(facts, await findSending(parts));
  if (account === null) {
    throw new OperatorError(`The queue does not know account ${id}.`, {
      hint: `${advice.says} ${advice.commands.map((call) => `\`${call}\``).join(" or ")}`.trim(),
    });
  }
  if (json) {
    printJson({ ...account, next_step: advice.says, commands: advice.commands });
    return [];
  }
  return [
    `Account ${account.account_id}`,
    ...toTable(factsOf(account, facts)).map((line) => `  ${line}`),
    "",
    forPerson(advice.says),
    ...advice.commands.map((command) => `  ${callForPerson(command)}`),
    "",
    ...historyOf(account.history),
  ];
}

async function readFacts(
  parts: Parts,
  id: string,
  account: AccountDetail | null,
): Promise<AccountFacts> {
  const { db } = parts;
  const [canonical] = await db.run<{ accountId: string }>("canonical_ids", [[id]]);
  const accountId = canonical?.accountId ?? id;
  const [followed] = await db.run<FollowedAccount>("follow_accounts", [[accountId]]);
  const [waiting] = await db.run<{ parentId: string | null }>("waits_for", [accountId]);
  return {
    id: accountId,
    state: account?.state ?? null,
    errorClass: account?.error_class ?? null,
    isThere: (await readSource(parts, accountId)) !== null,
    hasChanges: followed?.hasChanges ?? false,
    wasSynced: account !== null && account.last_synced_at !== null,
    parent: waiting?.parentId ? await readParent(parts, waiting.parentId) : null,
  };
}

async function readParent(parts: Parts, id: string): Promise<ParentFacts> {
  const source = await readSource(parts, id);
  const [followed] = await parts.db.run<FollowedAccount>("follow_accounts", [[id]]);
  return {
    id,
    state: followed?.state ?? null,
    isThere: source !== null,
    hasExternalId: source !== null && source.externalId !== null,
  };
}

/** The account's row in the source table; null when there is none, or can be none. */
async function readSource(
  { db, source }: Parts,
  id: string,
): Promise<{ readonly externalId: string | null } | null> {
  if (!source.isPossibleId(id)) return null;
  const [row] = await db.run<{ externalId: string | null }>("read_account_ids", [[id]]);
  return row ?? null;
}

function factsOf(account: AccountDetail, { id, isThere }: AccountFacts): string[][] {
  const facts = [["state", account.state]];
  if (account.error !== null)
    facts.push(["why", [account.error_class, forPerson(account.error)].filter(Boolean).join(": ")]);
  const warnings = account.history[0]?.warnings ?? 0;
  if (warnings > 0) {
    const tells = isThere ? `: ${callForPerson(callOn("preview", id))} tells them` : "";
    facts.push(["warnings", `${warnings} at the last try${tells}`]);
  }
  if (account.attempts > 0) facts.push(["failed tries", String(account.attempts)]);
  if (account.due_at !== null) {
    facts.push([account.state === "running" ? "lease ends" : "due", toTime(account.due_at)]);
  }
  if (account.changed_at !== null) facts.push(["changed", toTime(account.changed_at)]);
  facts.push([
    "last synced",
    account.last_synced_at === null ? "never" : toTime(account.last_synced_at),
  ]);
  return facts;
}

function historyOf(history: readonly HistoryRow[]): string[] {
  if (history.length === 0) return ["No attempt yet."];
  const rows = history.map((attempt) => [
    toTime(attempt.started_at),
    attempt.trigger,
    attempt.outcome ?? "under way",
    attempt.http_status === null ? "" : String(attempt.http_status),
    attempt.warnings === 0 ? "" : String(attempt.warnings),
    attempt.error === null
      ? ""
      : [attempt.error_class, forPerson(attempt.error)].filter((part) => part !== null).join(": "),
  ]);
  return toTable([["started", "trigger", "outcome", "http", "warnings", "error"], ...rows]);
}

/** To the second, in the time zone of the database session. */
function toTime(iso: string): string {
  return iso.slice(0, 19).replace("T", " ");
}
