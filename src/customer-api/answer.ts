/** Reads the body of a 2xx: the forms that installations of the API answer in, brought into one shape. Pure. */
import { toIdText } from "../exact-json.ts";
import { errorMessages, joinMessages, messagesOfErrors } from "./error-messages.ts";
import { isJsonObject, type JsonObject } from "./json.ts";

export interface CustomerAnswer {
  /**
   * Why the command was refused although the status is a 2xx (`success: false`); null when it was not. The API's own text: the client
   * masks it, as it does the errors of the sections.
   */
  readonly refusal: string | null;
  readonly customer: AnswerSection;
  readonly branch: AnswerSection;
  readonly tier: AnswerSection;
  readonly crew: AnswerSection;
}

export interface AnswerSection {
  /** False when the answer has no such section at all. */
  readonly present: boolean;
  readonly items: readonly AnswerItem[];
  /** How many items of the section the API says it refused (its `failed`, or the number of `errors`). */
  readonly failed: number;
  readonly errors: readonly string[];
}

export interface AnswerItem {
  /** At most 255 characters; null when the item has none or an unusable one. */
  readonly id: string | null;
  /** The item as it was answered, to compare what it echoes. */
  readonly raw: Readonly<Record<string, unknown>>;
}

const ABSENT: AnswerSection = { present: false, items: [], failed: 0, errors: [] };

/** Done, without ids. */
export const EMPTY_ANSWER: CustomerAnswer = {
  refusal: null,
  customer: ABSENT,
  branch: ABSENT,
  tier: ABSENT,
  crew: ABSENT,
};

/** null when nothing in it is recognised (no object, or one of some other service): the outcome of the command is unknown then. */
export function readAnswer(json: unknown): CustomerAnswer | null {
  const layers = unwrap(json);
  const refusing = layers.find((layer) => layer["success"] === false);
  const body = layers.find(hasSection);
  if (refusing === undefined && body === undefined) return null;

  const sections = body ?? {};
  return {
    refusal: refusing === undefined ? null : toRefusal(refusing),
    customer: withCustomerId(readSection(sections, SECTION_NAMES.customer), sections),
    branch: readSection(sections, SECTION_NAMES.branch),
    tier: readSection(sections, SECTION_NAMES.tier),
    crew: readSection(sections, SECTION_NAMES.crew),
  };
}

/** Whether it is `{"success": true}`, bare or wrapped, without any error beside it: done, and without ids. */
export function isBareSuccess(json: unknown): boolean {
  const layers = unwrap(json);
  const saysDone = layers.some((layer) => layer["success"] === true);
  const saysError = layers.some((layer) => !isBlank(layer["error"]) || !isBlank(layer["errors"]));
  return saysDone && !saysError;
}

/** The values that a field for errors has when there is none. */
function isBlank(value: unknown): boolean {
  if (isJsonObject(value)) return Object.keys(value).length === 0;
  if (Array.isArray(value)) return value.length === 0;
  return value === undefined || value === null || value === false || value === "" || value === 0;
}

/** Where several of the names occur, the first one with items counts. */
const SECTION_NAMES = {
  customer: ["customer"],
  branch: ["branch"],
  tier: ["tier", "tiers"],
  crew: ["crew", "customer-crew", "crews"],
} as const;

const ALL_NAMES: readonly string[] = Object.values(SECTION_NAMES).flat();

/** The body itself, its `data`, and the `data` of that. */
function unwrap(json: unknown): JsonObject[] {
  const layers: JsonObject[] = [];
  let layer = json;
  while (layers.length < 3 && isJsonObject(layer)) {
    layers.push(layer);
    layer = layer["data"];
  }
  return layers;
}

function hasSection(layer: JsonObject): boolean {
  return (
    ALL_NAMES.some((name) => isFilledSection(layer[name])) || toId(layer["customer_id"]) !== null
  );
}

function isFilledSection(value: unknown): value is JsonObject | readonly unknown[] {
  return isJsonObject(value) || Array.isArray(value);
}

function toRefusal(layer: JsonObject): string {
  const messages = errorMessages(layer);
  return messages.length === 0
    ? "the API answered success: false and gave no reason"
    : joinMessages(messages);
}

function withCustomerId(section: AnswerSection, body: JsonObject): AnswerSection {
  const id = toId(body["customer_id"]);
  if (id === null || section.items.some((item) => item.id !== null)) return section;
  return { ...section, present: true, items: [{ id, raw: { customer_id: body["customer_id"] } }] };
}

/** Far above any account. A longer section is read as one without items: cut, it would have a wrong length. */
const MAX_ITEMS = 10_000;

function readSection(body: JsonObject, names: readonly string[]): AnswerSection {
  const sections = names.map((name) => body[name]).filter(isFilledSection);
  const section = sections.find((each) => rowsOf(each).length > 0) ?? sections[0];
  if (section === undefined) return ABSENT;

  const rows = rowsOf(section);
  if (rows.length > MAX_ITEMS) {
    return { present: true, items: [], failed: 0, errors: [`more than ${MAX_ITEMS} items`] };
  }

  const errors = isJsonObject(section) ? (section["errors"] ?? section["error"]) : undefined;
  return {
    present: true,
    items: rows.map(toItem),
    failed:
      readFailed(isJsonObject(section) ? section["failed"] : undefined) ?? countErrors(errors),
    errors: messagesOfErrors(errors),
  };
}

function rowsOf(section: JsonObject | readonly unknown[]): readonly unknown[] {
  if (!isJsonObject(section)) return section;

  const data = section["data"];
  if (Array.isArray(data)) return data;
  if (isJsonObject(data) && (toId(data["id"]) !== null || toId(section["id"]) === null))
    return [data];
  return toId(section["id"]) === null ? [] : [section];
}

function toItem(row: unknown): AnswerItem {
  return isJsonObject(row) ? { id: toId(row["id"]), raw: row } : { id: null, raw: {} };
}

/**
 * Fits a `varchar(255)` of PostgreSQL unchanged. A number beyond 2^53 is none: it has lost digits, in a parser that was not ours
 * (exact-json.ts makes text of it).
 */
function toId(value: unknown): string | null {
  const text = toIdText(value);
  return text !== null && isStorable(text) ? text : null;
}

function isStorable(id: string): boolean {
  if (id.length > 2 * 255 || id.trim() === "") return false;
  if (id.length > 255 && [...id].length > 255) return false;
  // U+FFFD stands for bytes in an encoding that was not read: two ids could have become one.
  return id.isWellFormed() && !/[\0\uFFFD]/.test(id);
}

/** A number of items, the list of them, or whether any failed; undefined for anything else. */
function readFailed(value: unknown): number | undefined {
  if (Array.isArray(value)) return value.length;
  if (typeof value === "boolean") return Number(value);
  if (typeof value === "string") return /^\d{1,9}$/.test(value) ? Number(value) : undefined;
  return Number.isSafeInteger(value) && Number(value) >= 0 ? Number(value) : undefined;
}

function countErrors(errors: unknown): number {
  if (Array.isArray(errors)) return errors.length;
  return messagesOfErrors(errors).length;
}
