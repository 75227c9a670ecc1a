/**
 * What a person decides about a send whose outcome is not known, and how. Pure. View `account_sync.status` says the same
 * (sql/migrations/13_explain_the_status.sql).
 */
import { callOn } from "../call-on.ts";
import { hasAllIds } from "../customer-command/command.ts";
import type { UnsettledAttempt } from "./journal.ts";
import type { Operation } from "./outcome.ts";

/** Whether the send is finished, as it was, before anything newer goes out, unless a person decides otherwise. */
export function isUndecided({
  operation,
  delivery,
  sent,
}: Pick<UnsettledAttempt, "operation" | "delivery" | "sent">): boolean {
  if (delivery !== "sending" && delivery !== "unknown") return false;
  return operation === "create" || (operation === "update" && !hasAllIds(sent));
}

/** @param state retrying: it is finished by itself, unless a person decides before */
export function describeChoice(
  accountId: string,
  operation: Operation,
  state: "parked" | "retrying",
): string {
  return [
    describeChoiceWithoutRepeat(accountId, operation),
    state === "parked"
      ? `The same once more: \`${callOn("retry", accountId)}\`. Newer data wait until then.`
      : "Otherwise it is finished first, and newer data wait until then.",
  ].join(" ");
}

export function describeChoiceWithoutRepeat(accountId: string, operation: Operation): string {
  const isCreate = operation === "create";
  return [
    isCreate
      ? "A create was sent and its outcome is not known: the customer may exist. Look it up at the API."
      : `The outcome of ${operation === "update" ? "an update" : `a ${operation}`} is not known: what it adds may exist.`,
    ...(isCreate
      ? [
          `It was applied: \`${callOn("adopt", accountId)} <external id>\`, which updates it from there.`,
        ]
      : []),
    `It was not applied: \`${callOn("retry", accountId, ["--discard"])}\`, which sends current data.`,
  ].join(" ");
}
