/** One account as `status` shows it: its state, what to do about it, and its history. */
import { canonicalId } from "../account/canonical-ids.ts";
import { callOn } from "../call-on.ts";
import type { AccountDetail, AccountStatus, HistoryRow } from "../console/api.ts";
import { callForPerson, forPerson } from "../invocation.ts";
import { OperatorError } from "../operator-error.ts";
import { describeChoiceWithoutRepeat, isUndecided } from "../sync/choice.ts";
import { loadUnsettledAttempts } from "../sync/journal.ts";
import { findSending, type Wiring } from "../wiring.ts";
import { type AccountFacts, adviseOn, type ParentFacts } from "./account-advice.ts";
import { printJson, toTable } from "./output.ts";
import type { FollowedAccount } from "./sync-report.ts";

/** Lines to print; none with `json`, which prints its own. */
export async function describeAccount(
  wiring: Wiring,
  id: string,
  json: boolean,
): Promise<string[]> {
  const account = await wiring.inspector.account<AccountStatus, HistoryRow>(id);
  const facts = await readFacts(wiring, id, account);
  const advice = adviseOn(facts, await findSending(wiring));
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
  wiring: Wiring,
  id: string,
  account: AccountDetail | null,
): Promise<AccountFacts> {
  const { db } = wiring;
  const accountId = await canonicalId(db, id);
  const [followed] = await db.run<FollowedAccount>("follow_accounts", [[accountId]]);
  const unsettled = (await loadUnsettledAttempts(db, [accountId], 0)).get(accountId);
  const [waiting] = await db.run<{ parentId: string | null }>("waits_for", [accountId]);
  return {
    id: accountId,
    state: account?.state ?? null,
    errorClass: account?.error_class ?? null,
    error: account?.error ?? null,
    isThere: (await readSource(wiring, accountId)) !== null,
    hasChanges: followed?.hasChanges ?? false,
    wasSynced: account !== null && account.last_synced_at !== null,
    undecided: unsettled !== undefined && isUndecided(unsettled) ? unsettled.operation : null,
    parent: waiting?.parentId ? await readParent(wiring, waiting.parentId) : null,
  };
}

async function readParent(wiring: Wiring, id: string): Promise<ParentFacts> {
  const source = await readSource(wiring, id);
  const [followed] = await wiring.db.run<FollowedAccount>("follow_accounts", [[id]]);
  return {
    id,
    state: followed?.state ?? null,
    isThere: source !== null,
    hasExternalId: source !== null && source.externalId !== null,
  };
}

/** The account's row in the source table; null when there is none, or the id cannot be a key of that table. */
export async function readSource(
  { db, source }: Wiring,
  id: string,
): Promise<{ readonly externalId: string | null } | null> {
  if (!source.isPossibleId(id)) return null;
  const [row] = await db.run<{ externalId: string | null }>("read_account_ids", [[id]]);
  return row ?? null;
}

function factsOf(account: AccountDetail, { id, isThere, undecided }: AccountFacts): string[][] {
  const facts = [["state", account.state]];
  const why = withoutChoice(account.error, { id, undecided });
  if (account.error_class !== null || why !== "")
    facts.push(["why", [account.error_class, forPerson(why)].filter(Boolean).join(": ")]);
  const warnings = account.history[0]?.warnings ?? 0;
  if (warnings > 0) {
    const howToSee = isThere ? `: ${callForPerson(callOn("preview", id))} lists them` : "";
    facts.push(["warnings", `${warnings} at the last try${howToSee}`]);
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

/** The advice below names the decisions. */
function withoutChoice(
  error: string | null,
  { id, undecided }: Pick<AccountFacts, "id" | "undecided">,
): string {
  if (error === null || undecided === null) return error ?? "";
  const [reason = ""] = error.split(describeChoiceWithoutRepeat(id, undecided));
  return reason.trim();
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
