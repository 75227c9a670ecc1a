import { z } from "zod";

/** The customer API's answer, whatever form it came in, brought into one shape. */
export interface CustomerAnswer {
  /** Set when a 2xx body says that the command was refused (`success: false`). Masked like ApiFailure.message. */
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
  /** The item as it was answered, for echoed keys. */
  readonly raw: Readonly<Record<string, unknown>>;
}

/**
 * Reads the body of a 2xx, in any of the forms the API's installations give it. null when nothing in it can be recognised
 * (no object, or one of some other service): then nobody knows what became of the command.
 */
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

/** `{"success": true}`, bare or wrapped, and nothing beside it that speaks of an error. It says "done" and names nobody. */
export function isBareSuccess(json: unknown): boolean {
  const layers = unwrap(json);
  const saysDone = layers.some((layer) => layer["success"] === true);
  const saysError = layers.some((layer) => !isBlank(layer["error"]) || !isBlank(layer["errors"]));
  return saysDone && !saysError;
}

/** What fields for errors hold when there is none. */
function isBlank(value: unknown): boolean {
  if (isObject(value)) return Object.keys(value).length === 0;
  if (Array.isArray(value)) return value.length === 0;
  return value === undefined || value === null || value === false || value === "" || value === 0;
}

type Json = Readonly<Record<string, unknown>>;

/** Where several names occur, the first one that holds something counts. */
const SECTION_NAMES = {
  customer: ["customer"],
  branch: ["branch"],
  tier: ["tier", "tiers"],
  crew: ["crew", "customer-crew", "crews"],
} as const;

/** The body itself, its `data`, and the `data` of that. */
function unwrap(json: unknown): Json[] {
  const layers: Json[] = [];
  let layer = json;
  while (layers.length < 3 && isObject(layer)) {
    layers.push(layer);
    layer = layer["data"];
  }
  return layers;
}

function hasSection(layer: Json): boolean {
  const names = Object.values(SECTION_NAMES).flat();
  return names.some((name) => isFilledSection(layer[name])) || toId(layer["customer_id"]) !== null;
}

function isFilledSection(value: unknown): value is Json | readonly unknown[] {
  return isObject(value) || Array.isArray(value);
}

function toRefusal(layer: Json): string {
  const messages = errorMessages(layer);
  return messages.length === 0
    ? "the API answered success: false and gave no reason"
    : oneLine(messages.join("; "));
}

function withCustomerId(section: AnswerSection, body: Json): AnswerSection {
  const id = toId(body["customer_id"]);
  if (id === null || section.items.some((item) => item.id !== null)) return section;
  return { ...section, present: true, items: [{ id, raw: { customer_id: body["customer_id"] } }] };
}

/** Far above any account; a longer section is read as one that names nobody, as cutting it would make its length a lie. */
const MAX_ITEMS = 10_000;

const ABSENT: AnswerSection = { present: false, items: [], failed: 0, errors: [] };

/** "Done", and nobody named. */
export const EMPTY_ANSWER: CustomerAnswer = {
  refusal: null,
  customer: ABSENT,
  branch: ABSENT,
  tier: ABSENT,
  crew: ABSENT,
};

function readSection(body: Json, names: readonly string[]): AnswerSection {
  const sections = names.map((name) => body[name]).filter(isFilledSection);
  const section = sections.find((each) => rowsOf(each).length > 0) ?? sections[0];
  if (section === undefined) return ABSENT;

  const rows = rowsOf(section);
  if (rows.length > MAX_ITEMS) {
    return { present: true, items: [], failed: 0, errors: [`more than ${MAX_ITEMS} items`] };
  }

  const errors = isObject(section) ? (section["errors"] ?? section["error"]) : undefined;
  return {
    present: true,
    items: rows.map(toItem),
    failed: readFailed(isObject(section) ? section["failed"] : undefined) ?? countErrors(errors),
    errors: take(messagesIn(errors, MAX_DEPTH - 1)),
  };
}

function rowsOf(section: Json | readonly unknown[]): readonly unknown[] {
  if (!isObject(section)) return section;

  const data = section["data"];
  if (Array.isArray(data)) return data;
  if (isObject(data) && (toId(data["id"]) !== null || toId(section["id"]) === null)) return [data];
  return toId(section["id"]) === null ? [] : [section];
}

function toItem(row: unknown): AnswerItem {
  return isObject(row) ? { id: toId(row["id"]), raw: row } : { id: null, raw: {} };
}

/** What fits a `varchar(255)` of PostgreSQL unchanged; a number beyond 2^53 lost digits when the JSON was parsed. */
const Id = z.union([z.string().refine(isStorable), z.int().transform(String)]);

function toId(value: unknown): string | null {
  return Id.safeParse(value).data ?? null;
}

function isStorable(id: string): boolean {
  if (id.length > 2 * 255 || id.trim() === "") return false;
  return [...id].length <= 255 && id.isWellFormed() && !id.includes("\0");
}

const Failed = z.union([
  z.int().nonnegative(),
  z
    .string()
    .regex(/^\d{1,9}$/)
    .transform(Number),
  z.array(z.unknown()).transform((items) => items.length),
  z.boolean().transform(Number),
]);

function readFailed(value: unknown): number | undefined {
  return Failed.safeParse(value).data;
}

function countErrors(errors: unknown): number {
  if (Array.isArray(errors)) return errors.length;
  return take(messagesIn(errors, MAX_DEPTH - 1)).length;
}

/**
 * What an error body says, whatever form it came in; at most twenty lines. They are the API's words and may quote personal
 * data: mask them before they go anywhere.
 */
export function errorMessages(json: unknown): readonly string[] {
  return take(messagesIn(json, MAX_DEPTH));
}

const MAX_MESSAGES = 20;
const MAX_DEPTH = 6;
/** Masking comes later and cuts to 500: cutting here first could leave half a value, which masking would not recognise. */
const MAX_MESSAGE_LENGTH = 5_000;

/** The API's own three first, then those of OAuth token endpoints and of problem+json. */
const MESSAGE_KEYS = ["message", "error", "errors", "error_description", "detail", "title"];

function take(messages: Generator<string>): readonly string[] {
  const distinct = new Set<string>();
  for (const message of messages) {
    distinct.add(message);
    if (distinct.size === MAX_MESSAGES) break;
  }
  return [...distinct];
}

function* messagesIn(value: unknown, depth: number): Generator<string> {
  if (depth === 0) return;

  if (typeof value === "string") {
    const message = oneLine(value);
    if (message !== "") yield message;
  } else if (Array.isArray(value)) {
    for (const item of value) yield* messagesIn(item, depth - 1);
  } else if (isObject(value)) {
    yield* messagesOf(value, depth);
    if (depth < MAX_DEPTH && !hasMessage(value)) yield* messagesByField(value, depth);
  }
}

function* messagesOf(object: Json, depth: number): Generator<string> {
  for (const key of MESSAGE_KEYS) yield* messagesIn(object[key], depth - 1);

  // A proxied error keeps the original body here. As bare text it could be anything, a token too: then it is left alone.
  const data = object["data"];
  if (isObject(data) && depth > 1) yield* messagesOf(data, depth - 1);
}

/** `{"errors": {"email": ["is taken"]}}`: keys are fields. Only lists, as `{"code": "E7", "value": "Budi"}` is no message. */
function* messagesByField(object: Json, depth: number): Generator<string> {
  for (const value of Object.values(object)) {
    if (Array.isArray(value)) yield* messagesIn(value, depth - 1);
  }
}

function hasMessage(object: Json): boolean {
  return MESSAGE_KEYS.some((key) => object[key] != null);
}

function oneLine(text: string): string {
  return text
    .slice(0, MAX_MESSAGE_LENGTH)
    .replace(/[\s\p{Cc}]+/gu, " ")
    .trim()
    .toWellFormed();
}

function isObject(value: unknown): value is Json {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
