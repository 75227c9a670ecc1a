/** The ids that an answer holds for the rows of one section: tiers or contact persons. */
import type { AnswerSection } from "../customer-api/answer.ts";
import { asItStands, isSameId, toComparableId } from "../same-id.ts";
import { echoedReference, isUsableId } from "./answered-id.ts";
import type { CommandCrew, CommandTier, SentRow } from "./command.ts";
import { type MatchProblem, toProblem } from "./match-problem.ts";
import {
  type ComparableKey,
  type Comparison,
  compareKeys,
  type Json,
  type NaturalKey,
  toComparableKey,
} from "./natural-key.ts";
import { once } from "./once.ts";

export interface MatchOptions {
  /** Name of the field that carries our local ids; null when none does. */
  readonly referenceField: string | null;
  /** What the answer replies to: only that to the command can be in the order of the command. */
  readonly answers: "the command" | "a lookup";
}

export interface MatchInput extends MatchOptions {
  readonly entity: "tier" | "pic";
  readonly section: AnswerSection;
  /** In the order of `items`. */
  readonly sentRows: readonly SentRow[];
  readonly items: () => readonly (CommandTier | CommandCrew)[];
  /** Ids of rows that were not sent: an item with one of them matches no row here. */
  readonly unsentIds: readonly string[];
  readonly naturalKey: NaturalKey;
}

export interface ReceivedId {
  /** Ours: the primary key of the row. */
  readonly id: string;
  readonly externalId: string;
}

/** Matches by the evidence that `matchIds` lists, the best first. */
export function matchRows(input: MatchInput): {
  readonly received: readonly ReceivedId[];
  readonly problems: readonly MatchProblem[];
} {
  const rows = toRows(input);
  const candidates = toCandidates(input, rows);

  const matches: Matches = new Map();
  matchByOwner(rows, candidates, matches);
  matchByNaturalKey(input, rows, candidates, matches);
  matchByPosition(input, rows, candidates, matches);

  const received = rows.flatMap((row) => {
    const externalId = matches.get(row)?.id ?? null;
    return externalId === null
      ? []
      : [{ id: row.id, externalId: asItStands(externalId, row.externalId) }];
  });
  return { received, problems: findProblems(input, rows, matches) };
}

interface Row {
  readonly index: number;
  readonly id: string;
  /** null where `uuid_be` is blank, too. */
  readonly externalId: string | null;
  /** Made where an item echoes something to compare it with. */
  readonly key: () => ComparableKey;
  /** All that was sent about it except ids, as JSON: rows of equal content mean the same to the API. */
  readonly content: () => string;
}

interface MatchCandidate {
  readonly index: number;
  /** null when it must not be written to any row: missing, too long, or held by several items. */
  readonly id: string | null;
  /** The row it certainly belongs to; `other` when it certainly belongs to no row that still needs an id; `unknown` until proven. */
  readonly owner: Row | "other" | "unknown";
  /** null when it echoes nothing that could be compared. */
  readonly echo: ComparableKey | null;
}

type Matches = Map<Row, MatchCandidate>;

function toRows({ sentRows, items, naturalKey, referenceField }: MatchInput): Row[] {
  return sentRows.map((row, index) => {
    // If the lists differ in length, it is unknown which item belongs to which row: then no row has anything to compare.
    const item = once((): Json => {
      const all = items();
      return sentRows.length === all.length ? { ...all[index] } : {};
    });

    return {
      index,
      id: row.id,
      externalId: row.externalId === null || row.externalId.trim() === "" ? null : row.externalId,
      key: once(() => toComparableKey(item(), naturalKey, "sent")),
      content: once(() => {
        const { id: _, [referenceField ?? "id"]: __, ...content } = item();
        return JSON.stringify(content);
      }),
    };
  });
}

function toCandidates(
  { section, unsentIds, naturalKey, referenceField }: MatchInput,
  rows: readonly Row[],
): MatchCandidate[] {
  const comparables = section.items.map(({ id }) => (isUsableId(id) ? toComparableId(id) : null));
  const repeatedIds = repeated(comparables);
  const rowsWithId = rows.filter((row) => row.externalId !== null);
  const sharedIds = repeated(rowsWithId.map((row) => toComparableId(row.externalId)));
  const rowsByExternalId = new Map(rowsWithId.map((row) => [toComparableId(row.externalId), row]));
  const rowsById = once(() => new Map(rows.map((row) => [toComparableId(row.id), row])));
  const idsOfOthers = new Set(unsentIds.map((id) => toComparableId(id)));

  return section.items.map((item, index) => {
    const comparable = comparables[index] ?? null;
    const isUsable = comparable !== null && !repeatedIds.has(comparable);
    const id = isUsable ? item.id : null;
    const reference = toComparableId(echoedReference(item, referenceField));

    const byId = isUsable ? rowsByExternalId.get(comparable) : undefined;
    const byReference = reference === null ? undefined : (rowsById().get(reference) ?? "other");
    const isDisputed = byId !== undefined && byReference !== undefined && byId !== byReference;
    const isOfOther =
      isDisputed || (isUsable && (idsOfOthers.has(comparable) || sharedIds.has(comparable)));

    return {
      index,
      id,
      owner: isOfOther ? "other" : (byId ?? byReference ?? "unknown"),
      echo: toEcho(toComparableKey(item.raw, naturalKey, "echoed")),
    };
  });
}

function toEcho(key: ComparableKey): ComparableKey | null {
  return key.every((value) => value === null) ? null : key;
}

/** The row's own id counts for more than an echoed reference; two references to one row prove nothing. */
function matchByOwner(
  rows: readonly Row[],
  candidates: readonly MatchCandidate[],
  matches: Matches,
): void {
  if (candidates.every(({ owner }) => owner === "unknown")) return;
  const owned = Map.groupBy(candidates, (candidate) => candidate.owner);

  for (const row of rows) {
    const ofRow = owned.get(row) ?? [];
    const confirmed = ofRow.find((candidate) => isSameId(candidate.id, row.externalId));
    const only = ofRow.length === 1 ? ofRow[0] : undefined;

    const match = row.externalId !== null && confirmed !== undefined ? confirmed : only;
    if (match !== undefined && match.id !== null) matches.set(row, match);
  }
}

/** Items whose id is unusable take part in the comparison: they can still make an echo ambiguous. */
function matchByNaturalKey(
  { naturalKey }: MatchInput,
  rows: readonly Row[],
  candidates: readonly MatchCandidate[],
  matches: Matches,
): void {
  const unknown = candidates.filter(({ owner, echo }) => owner === "unknown" && echo !== null);
  if (unknown.length === 0) return;

  const freeRows = rows.filter((row) => !matches.has(row));
  const fits = freeRows.flatMap((row) =>
    unknown
      .filter((candidate) => compare(row, candidate, naturalKey) === "same")
      .map((candidate) => ({ row, candidate })),
  );
  const ambiguous = new Set<Row | MatchCandidate>([
    ...repeated(fits.map((fit) => fit.row)),
    ...repeated(fits.map((fit) => fit.candidate)),
  ]);

  for (const { row, candidate } of fits) {
    const isUnique = !ambiguous.has(row) && !ambiguous.has(candidate);
    if (isUnique && candidate.id !== null) matches.set(row, candidate);
  }
}

/**
 * The position assumes that the API kept our order, so it counts only where nothing contradicts that: the section is complete, nothing
 * failed, every id is usable, and every match proven so far is at its own position. The last pair left is matched at any position, as
 * there is no other row that its id could belong to.
 *
 * Rows that have an id already, none of which was answered, may get another one here among themselves: the write-back keeps the old one
 * and reports the conflict. A new row beside such rows gets none, as the answer may be about other rows.
 */
function matchByPosition(
  { section, naturalKey, answers }: MatchInput,
  rows: readonly Row[],
  candidates: readonly MatchCandidate[],
  matches: Matches,
): void {
  if (answers === "a lookup" || matches.size === rows.length) return;
  if (candidates.length !== rows.length || section.failed > 0 || section.errors.length > 0) return;

  const taken = new Set(matches.values());
  const freeRows = rows.filter((row) => !matches.has(row));
  const free = candidates.filter((candidate) => !taken.has(candidate));
  if (!free.every((candidate) => candidate.owner === "unknown" && candidate.id !== null)) return;

  const known = freeRows.filter((row) => row.externalId !== null).length;
  if (known > 0 && known < freeRows.length) return;

  const keepsOrder = [...matches].every(([row, candidate]) => row.index === candidate.index);
  if (!keepsOrder && freeRows.length > 1) return;

  const pairs = freeRows.flatMap((row, index) => {
    const candidate = free[index];
    return candidate === undefined ? [] : [{ row, candidate }];
  });
  const isTrusted = pairs.every(({ row, candidate }) => {
    const comparison = compare(row, candidate, naturalKey);
    if (comparison !== "same" || freeRows.length === 1) return comparison !== "different";

    // An API that echoes need not keep the order. Where the echo fits several rows, their content must be equal.
    return freeRows
      .filter((other) => compare(other, candidate, naturalKey) === "same")
      .every((other) => other.content() === row.content());
  });
  if (!isTrusted) return;

  for (const { row, candidate } of pairs) matches.set(row, candidate);
}

function compare(row: Row, { echo }: MatchCandidate, naturalKey: NaturalKey): Comparison {
  return echo === null ? "unknown" : compareKeys(row.key(), echo, naturalKey);
}

function findProblems(
  { entity, section }: MatchInput,
  rows: readonly Row[],
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

function repeated<Value>(values: readonly Value[]): Set<Value> {
  const seen = new Set<Value>();
  return new Set(values.filter((value) => seen.size === seen.add(value).size));
}
