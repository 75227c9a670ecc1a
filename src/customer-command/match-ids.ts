/** Which of our rows each id of an answer belongs to: the customer and its branch here, tiers and contact persons in match-rows.ts. */
import type { AnswerSection, CustomerAnswer } from "../customer-api/answer.ts";
import { asItStands, isSameId } from "../same-id.ts";
import { echoedReference, isUsableId } from "./answered-id.ts";
import type { CustomerCommand, SentRows } from "./command.ts";
import { type MatchProblem, toProblem } from "./match-problem.ts";
import { type MatchOptions, matchRows, type ReceivedId } from "./match-rows.ts";
import { CREW, TIER } from "./natural-key.ts";
import { once } from "./once.ts";

/** The ids that an answer holds for our rows, those included that a row has already: the answer confirms them. */
export interface ReceivedIds {
  readonly customer: string | null;
  readonly branch: string | null;
  readonly tiers: readonly ReceivedId[];
  readonly pics: readonly ReceivedId[];
  readonly problems: readonly MatchProblem[];
}

/**
 * Decides which of our rows each answered id belongs to, by the best evidence there is:
 *
 * 1. the row has that id already, or the API echoes our local id under the reference field;
 * 2. the API echoes what we sent, and the echo fits one row only and the row one item only;
 * 3. the position, where nothing contradicts that the API kept our order. This counts only in the answer to the command itself: a lookup
 *    lists rows in an order that was never ours.
 *
 * A wrong id on a row is worse than none, so an id that is not proven is left out and reported as a problem.
 *
 * @param command as it was sent, or its JSON text: ids are mostly matched without a look at it, and then it need not be parsed
 */
export function matchIds(
  answer: CustomerAnswer,
  command: CustomerCommand | string,
  sent: SentRows,
  options: MatchOptions,
): ReceivedIds {
  const read = once(() =>
    typeof command === "string" ? (JSON.parse(command) as CustomerCommand) : command,
  );
  const account = matchAccount(answer, read, sent, options.referenceField);
  const tiers = matchRows({
    entity: "tier",
    section: answer.tier,
    sentRows: sent.tiers,
    items: () => read().tier,
    unsentIds: sent.unsentIds?.tiers ?? [],
    naturalKey: TIER,
    ...options,
  });
  const pics = matchRows({
    entity: "pic",
    section: answer.crew,
    sentRows: sent.pics,
    items: () => read()["customer-crew"],
    unsentIds: sent.unsentIds?.pics ?? [],
    naturalKey: CREW,
    ...options,
  });

  return {
    customer: asItStands(account.customer, sent.externalId),
    branch: asItStands(account.branch, sent.branchExternalId),
    tiers: tiers.received,
    pics: pics.received,
    problems: [...account.problems, ...tiers.problems, ...pics.problems],
  };
}

function matchAccount(
  answer: CustomerAnswer,
  command: () => CustomerCommand,
  sent: SentRows,
  referenceField: string | null,
): Pick<ReceivedIds, "customer" | "branch" | "problems"> {
  const isUpdate = () => command().customer.id !== undefined;
  const own = onlyId(answer.customer, sent.accountId, referenceField);
  const branch = onlyId(answer.branch, sent.accountId, referenceField);
  const customer = own ?? (isSameAsBranch(answer.customer, command, branch) ? branch : null);

  const refused = answer.customer.failed + answer.branch.failed > 0;
  if (!refused && (customer !== null || (isUpdate() && !namesAnId(answer.customer)))) {
    return { customer, branch, problems: [] };
  }

  const message = refused
    ? "the API accepted the customer or its branch only in part"
    : "the answer has no usable customer id";
  const errors = [...answer.customer.errors, ...answer.branch.errors];
  return { customer, branch, problems: [toProblem("account", 1, message, errors)] };
}

/** The id in a section for one row: the only one, usable, and not contradicted by the echoed reference. */
function onlyId(
  section: AnswerSection,
  accountId: string,
  referenceField: string | null,
): string | null {
  const [item, ...others] = section.items;
  if (item === undefined || others.some((other) => !isSameId(other.id, item.id))) return null;

  const reference = echoedReference(item, referenceField);
  const isOfOther = reference !== null && !isSameId(reference, accountId);
  return isUsableId(item.id) && !isOfOther ? item.id : null;
}

/**
 * Some installations answer with the id of the branch only, and mean the customer by it. That is not assumed where the customer section
 * failed or holds an id that we cannot use, nor where the account has another id already.
 */
function isSameAsBranch(
  customer: AnswerSection,
  command: () => CustomerCommand,
  branch: string | null,
): boolean {
  if (namesAnId(customer) || customer.failed > 0) return false;
  const { id } = command().customer;
  return id === undefined || isSameId(id, branch);
}

/** Whether the section holds an id at all, usable or not. */
function namesAnId(section: AnswerSection): boolean {
  return section.items.some((item) => {
    const id = item.id ?? item.raw["id"];
    return id != null && String(id).trim() !== "";
  });
}
