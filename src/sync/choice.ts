/**
 * Which unfinished send holds newer data back, and what a person decides about one whose outcome is not known, and how. Pure. View
 * `account_sync.status` says the same (sql/migrations/13_explain_the_status.sql).
 */
import { callOn } from "../call-on.ts";
import { hasAllIds } from "../customer-command/command.ts";
import type { UnsettledAttempt } from "./journal.ts";
import type { Operation } from "./outcome.ts";

interface Unfinished extends Pick<UnsettledAttempt, "operation" | "sent"> {
  readonly delivery: UnsettledAttempt["delivery"] | "not_sent";
}

/**
 * Whether the send goes out again as it was before anything newer does, unless a person decides otherwise. An update that only changes
 * values may be overtaken by a newer one; one that adds tiers or PICs and may have been applied may not, or they could be added twice.
 */
export function holdsNewerBack({ operation, delivery, sent }: Unfinished): boolean {
  switch (operation) {
    case "create":
      return delivery !== "answered";
    case "update":
      return (delivery === "sending" || delivery === "unknown") && !hasAllIds(sent);
    case "delete":
      return false;
    default:
      return operation satisfies never;
  }
}

/** It holds newer data back, and it is not known whether it was applied. */
export function isUndecided(send: Unfinished): boolean {
  return holdsNewerBack(send) && send.delivery !== "not_applied";
}

/**
 * A send that is parked and not finished: why, and what ends that.
 *
 * @param reason as a sentence without its full stop
 */
export function describeParked(send: Unfinished, reason: string | null): string {
  const wayOut = describeWayOut(send);
  return reason === null ? wayOut : `${reason}. ${wayOut}`;
}

function describeWayOut(send: Unfinished): string {
  const { accountId } = send.sent;
  if (isUndecided(send)) return describeChoice(accountId, send.operation, "parked");
  const retry = `\`${callOn("retry", accountId)}\``;
  const discard = `\`${callOn("retry", accountId, ["--discard"])}\``;
  switch (send.operation) {
    case "create":
      return `The create was not applied. The same once more: ${retry}, or a change of the data; newer data go out after it. Current data instead: ${discard}.`;
    case "update":
      return `Newer data do not wait for it: the next change is sent by itself. Current data without a change: ${retry}.`;
    case "delete":
      return `The delete once more: ${retry}. To end it, so that the customer stays at the API: ${discard}.`;
    default:
      return send.operation satisfies never;
  }
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
      : "The outcome of an update is not known: what it adds may exist.",
    ...(isCreate
      ? [
          `It was applied: \`${callOn("adopt", accountId)} <external id>\`, which updates it from there.`,
        ]
      : []),
    `It was not applied: \`${callOn("retry", accountId, ["--discard"])}\`, which sends current data.`,
  ].join(" ");
}
