import type { AnswerItem, AnswerSection, CustomerAnswer } from "../customer-api/answer.ts";
import type { CommandCrew, CommandTier, CustomerCommand, SentRow, SentRows } from "./command.ts";
import type { Json } from "./natural-key.ts";
import {
  type ComparableKey,
  CREW,
  compareKeys,
  type NaturalKey,
  TIER,
  toComparableKey,
} from "./natural-key.ts";

/** What an answer gives our rows. An id that a row had already and that was answered again is in here too: confirmed. */
export interface ReceivedIds {
  readonly customer: string | null;
  readonly branch: string | null;
  readonly tiers: readonly ReceivedId[];
  readonly pics: readonly ReceivedId[];
  readonly problems: readonly MatchProblem[];
  /** Found by a lookup: nothing tells that the customer holds what was sent. */
  readonly adopted?: boolean;
}

export interface ReceivedId {
  /** Ours: the primary key of the row. */
  readonly id: string;
  readonly externalId: string;
}

/** Rows that should have an external id now and have none, or were refused by the API: class `incomplete`. */
export interface MatchProblem {
  readonly entity: "account" | "tier" | "pic";
  readonly count: number;
  readonly message: string;
}

/**
 * Decides which of our rows each answered id belongs to, by the best evidence there is:
 *
 * 1. the row has that id already, or the API echoes our local id under the reference field;
 * 2. the API echoes what we sent, and that fits one row only and the row fits one item only;
 * 3. the position, while nothing speaks against the API having kept the order. Only in the answer to the very command: what a lookup
 *    lists was never in our order, so there only the last pair is left to the position.
 *
 * A wrong id on a row is worse than none, so whatever is not proven is left out and told as a problem.
 */
export function matchIds(
  answer: CustomerAnswer,
  command: CustomerCommand,
  sent: SentRows,
  options: MatchOptions,
): ReceivedIds {
  const account = matchAccount(answer, command, sent, options.referenceField);
  const tiers = matchSection({
    entity: "tier",
    section: answer.tier,
    rows: toRows(sent.tiers, command.tier, TIER, options.referenceField),
    unsentIds: sent.unsentIds?.tiers ?? [],
    naturalKey: TIER,
    ...options,
  });
  const pics = matchSection({
    entity: "pic",
    section: answer.crew,
    rows: toRows(sent.pics, command["customer-crew"], CREW, options.referenceField),
    unsentIds: sent.unsentIds?.pics ?? [],
    naturalKey: CREW,
    ...options,
  });

  return {
    customer: account.customer,
    branch: account.branch,
    tiers: tiers.received,
    pics: pics.received,
    problems: [...account.problems, ...tiers.problems, ...pics.problems],
  };
}

export interface MatchOptions {
  readonly referenceField: string | null;
  readonly answers: "the command" | "a lookup";
}

function matchAccount(
  answer: CustomerAnswer,
  command: CustomerCommand,
  sent: SentRows,
  referenceField: string | null,
): Pick<ReceivedIds, "customer" | "branch" | "problems"> {
  const hasId = command.customer.id !== undefined;
  const own = onlyId(answer.customer, sent.accountId, referenceField);
  const branch = onlyId(answer.branch, sent.accountId, referenceField);
  const customer = own ?? (isSameAsBranch(answer.customer, command, branch) ? branch : null);

  const refused = answer.customer.failed + answer.branch.failed > 0;
  if (!refused && (customer !== null || (hasId && !namesAnId(answer.customer)))) {
    return { customer, branch, problems: [] };
  }

  const message = refused
    ? "the API took the customer or its branch only in part"
    : "the answer has no usable customer id";
  const errors = [...answer.customer.errors, ...answer.branch.errors];
  return { customer, branch, problems: [toProblem("account", 1, message, errors)] };
}

/** The id of a section that stands for one row: usable, not contradicted by the reference, and the only one. */
function onlyId(
  section: AnswerSection,
  accountId: string,
  referenceField: string | null,
): string | null {
  const [item, ...others] = section.items;
  if (item === undefined || others.some((other) => other.id !== item.id)) return null;

  const reference = echoedReference(item, referenceField);
  return isUsable(item.id) && (reference === null || reference === accountId) ? item.id : null;
}

/**
 * Some installations name the branch only and mean the customer by it. Not so where the section is there and failed or holds
 * an id we cannot use, nor where the account is known under another id.
 */
function isSameAsBranch(
  customer: AnswerSection,
  command: CustomerCommand,
  branch: string | null,
): boolean {
  const isKnownOtherwise = command.customer.id !== undefined && command.customer.id !== branch;
  return !namesAnId(customer) && customer.failed === 0 && !isKnownOtherwise;
}

/** Whether there is an id at all, usable or not. */
function namesAnId(section: AnswerSection): boolean {
  return section.items.some((item) => {
    const id = item.id ?? item.raw["id"];
    return id != null && String(id).trim() !== "";
  });
}

interface SectionInput extends MatchOptions {
  readonly entity: "tier" | "pic";
  readonly section: AnswerSection;
  readonly rows: readonly Row[];
  /** Ids of rows that were not sent: an item with one of them is none of ours here. */
  readonly unsentIds: readonly string[];
  readonly naturalKey: NaturalKey;
}

interface Row {
  readonly index: number;
  readonly id: string;
  /** null where `uuid_be` is blank, too. */
  readonly externalId: string | null;
  readonly key: ComparableKey;
  /** All that was sent about it but ids: rows of equal content mean the same to the API. */
  readonly content: string;
}

interface Candidate {
  readonly index: number;
  /** null when it must not be written to any row: none, too long, or not the only item with it. */
  readonly id: string | null;
  /** Whose it is for sure; `nobody` when it is for sure not of a row that could still be found. */
  readonly owner: Row | "nobody" | "open";
  readonly key: ComparableKey;
}

type Matches = Map<Row, Candidate>;

function matchSection(input: SectionInput): {
  readonly received: readonly ReceivedId[];
  readonly problems: readonly MatchProblem[];
} {
  const candidates = toCandidates(input);

  const matches: Matches = new Map();
  matchByOwner(input.rows, candidates, matches);
  matchByNaturalKey(input, candidates, matches);
  matchByPosition(input, candidates, matches);

  const received = input.rows.flatMap((row) => {
    const externalId = matches.get(row)?.id ?? null;
    return externalId === null ? [] : [{ id: row.id, externalId }];
  });
  return { received, problems: toSectionProblems(input, matches) };
}

function toRows(
  sentRows: readonly SentRow[],
  items: readonly (CommandTier | CommandCrew)[],
  naturalKey: NaturalKey,
  referenceField: string | null,
): Row[] {
  return sentRows.map((row, index) => {
    // Were the two lists not of one length, nothing would tell which item is whose: then no row has anything to compare.
    const item: Json = sentRows.length === items.length ? { ...items[index] } : {};
    const { id: _, [referenceField ?? "id"]: __, ...content } = item;

    return {
      index,
      id: row.id,
      externalId: isBlank(row.externalId) ? null : row.externalId,
      key: toComparableKey(item, naturalKey, "sent"),
      content: JSON.stringify(content),
    };
  });
}

function toCandidates({
  section,
  rows,
  unsentIds,
  naturalKey,
  referenceField,
}: SectionInput): Candidate[] {
  const isTwice = repeated(section.items.map((item) => item.id));
  const isSharedByRows = repeated(rows.map((row) => row.externalId));
  const rowsByExternalId = new Map(rows.map((row) => [row.externalId, row]));
  const rowsById = new Map(rows.map((row) => [row.id, row]));
  const foreign = new Set(unsentIds);

  return section.items.map((item, index) => {
    const id = isUsable(item.id) && !isTwice.has(item.id) ? item.id : null;
    const reference = echoedReference(item, referenceField);

    const byId = id === null ? undefined : rowsByExternalId.get(id);
    const byReference = reference === null ? undefined : (rowsById.get(reference) ?? "nobody");
    const isDisputed = byId !== undefined && byReference !== undefined && byId !== byReference;
    const isNobodys = isDisputed || (id !== null && (foreign.has(id) || isSharedByRows.has(id)));

    return {
      index,
      id,
      owner: isNobodys ? "nobody" : (byId ?? byReference ?? "open"),
      key: toComparableKey(item.raw, naturalKey, "echoed"),
    };
  });
}

/** A row's own id outdoes an echoed reference; two references to one row prove nothing. */
function matchByOwner(
  rows: readonly Row[],
  candidates: readonly Candidate[],
  matches: Matches,
): void {
  const owned = Map.groupBy(candidates, (candidate) => candidate.owner);

  for (const row of rows) {
    const ofRow = owned.get(row) ?? [];
    const confirmed = ofRow.find((candidate) => candidate.id === row.externalId);
    const only = ofRow.length === 1 ? ofRow[0] : undefined;

    const match = row.externalId !== null && confirmed !== undefined ? confirmed : only;
    if (match !== undefined && match.id !== null) matches.set(row, match);
  }
}

/** Items whose id is unusable take part in the comparison: they can still make an echo ambiguous. */
function matchByNaturalKey(
  { rows, naturalKey }: SectionInput,
  candidates: readonly Candidate[],
  matches: Matches,
): void {
  const freeRows = rows.filter((row) => !matches.has(row));
  const open = candidates.filter((candidate) => candidate.owner === "open");

  const fits = freeRows.flatMap((row) =>
    open
      .filter((candidate) => compareKeys(row.key, candidate.key, naturalKey) === "same")
      .map((candidate) => ({ row, candidate })),
  );
  const ambiguous = new Set<Row | Candidate>([
    ...repeated(fits.map((fit) => fit.row)),
    ...repeated(fits.map((fit) => fit.candidate)),
  ]);

  for (const { row, candidate } of fits) {
    const isUnique = !ambiguous.has(row) && !ambiguous.has(candidate);
    if (isUnique && candidate.id !== null) matches.set(row, candidate);
  }
}

/**
 * The position is a guess about the API, so everything has to be in its favour: the section is whole, nothing failed, every
 * id is good, and whatever is proven already stands at its own position. Only the very last pair may stand anywhere, as
 * there is no other row its id could belong to.
 *
 * Rows that have an id already, none of which was answered, may get another one here among themselves. The write-back keeps the
 * old one and reports the conflict. A new row beside such a row gets nothing: the API does not speak of the rows we think.
 */
function matchByPosition(
  { section, rows, naturalKey, answers }: SectionInput,
  candidates: readonly Candidate[],
  matches: Matches,
): void {
  // A lookup lists what is there, in an order and a number that were never ours.
  if (answers === "a lookup") return;
  if (candidates.length !== rows.length || section.failed > 0 || section.errors.length > 0) return;

  const taken = new Set(matches.values());
  const freeRows = rows.filter((row) => !matches.has(row));
  const free = candidates.filter((candidate) => !taken.has(candidate));
  if (!free.every((candidate) => candidate.owner === "open" && candidate.id !== null)) return;

  const known = freeRows.filter((row) => row.externalId !== null).length;
  if (known > 0 && known < freeRows.length) return;

  const keepsOrder = [...matches].every(([row, candidate]) => row.index === candidate.index);
  if (!keepsOrder && freeRows.length > 1) return;

  const pairs = freeRows.flatMap((row, index) => {
    const candidate = free[index];
    return candidate === undefined ? [] : [{ row, candidate }];
  });
  const isTrusted = pairs.every(({ row, candidate }) => {
    const comparison = compareKeys(row.key, candidate.key, naturalKey);
    if (comparison !== "same" || freeRows.length === 1) return comparison !== "different";

    // An API that echoes need not keep the order. Where the echo fits several rows, they must be the same to the API.
    return freeRows
      .filter((other) => compareKeys(other.key, candidate.key, naturalKey) === "same")
      .every((other) => other.content === row.content);
  });
  if (!isTrusted) return;

  for (const { row, candidate } of pairs) matches.set(row, candidate);
}

function toSectionProblems(
  { entity, section, rows }: SectionInput,
  matches: Matches,
): MatchProblem[] {
  const without = rows.filter((row) => row.externalId === null && !matches.has(row)).length;
  const refused = Math.min(section.failed, Math.max(rows.length, 1));
  if (without === 0 && refused === 0) return [];

  const noun = entity === "tier" ? "tiers" : "crew members";
  const message =
    `${without} of ${rows.length} ${noun} got no id: ` +
    `${section.items.length} answered, ${section.failed} refused`;
  return [toProblem(entity, Math.max(without, refused), message, section.errors)];
}

/** The API's own words (masked by the client) are what helps at three in the morning; the first of them are enough. */
function toProblem(
  entity: MatchProblem["entity"],
  count: number,
  message: string,
  errors: readonly string[],
): MatchProblem {
  const text = [message, ...errors.slice(0, 3)].join("; ");
  return { entity, count, message: text.slice(0, 500).toWellFormed() };
}

function echoedReference(item: AnswerItem, referenceField: string | null): string | null {
  const reference = referenceField === null ? null : item.raw[referenceField];
  if (typeof reference !== "string" && typeof reference !== "number") return null;
  return isBlank(String(reference)) ? null : String(reference);
}

/** What a `varchar(255)` holds and tells from no id. */
function isUsable(id: string | null): id is string {
  return id !== null && !isBlank(id) && [...id].length <= 255;
}

function isBlank(text: string | null): boolean {
  return text === null || text.trim() === "";
}

function repeated<Value>(values: readonly Value[]): Set<Value> {
  const seen = new Set<Value>();
  return new Set(values.filter((value) => seen.size === seen.add(value).size));
}
