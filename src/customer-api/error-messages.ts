/**
 * The messages in an error body, whatever its form. They are the API's own text and may quote personal data: mask them before they are
 * logged or stored. Pure.
 */
import { isJsonObject, type JsonObject } from "./json.ts";

/** Of a whole body: at most 20 distinct messages, each one line of at most 5,000 characters. */
export function errorMessages(json: unknown): readonly string[] {
  return take(messagesIn(json, MAX_DEPTH));
}

/** Of a field that is known to hold errors. Within the same bounds; here an object may also have lists of messages by field. */
export function messagesOfErrors(errors: unknown): readonly string[] {
  if (errors === undefined || errors === null) return [];
  return take(messagesIn(errors, MAX_DEPTH - 1));
}

/** One line within the bound of one message. */
export function joinMessages(messages: readonly string[]): string {
  return toMessage(messages.join("; "));
}

const MAX_MESSAGES = 20;
const MAX_DEPTH = 6;
/** Masking comes later and cuts to 500: a cut at 500 here could leave half a value, which masking would not recognise. */
const MAX_MESSAGE_LENGTH = 5_000;

/** The three that the API uses, then those of OAuth token endpoints and of problem+json. */
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
    const message = toMessage(value);
    if (message !== "") yield message;
  } else if (Array.isArray(value)) {
    for (const item of value) yield* messagesIn(item, depth - 1);
  } else if (isJsonObject(value)) {
    yield* messagesOf(value, depth);
    if (depth < MAX_DEPTH && !hasMessage(value)) yield* messagesByField(value, depth);
  }
}

function* messagesOf(object: JsonObject, depth: number): Generator<string> {
  for (const key of MESSAGE_KEYS) yield* messagesIn(object[key], depth - 1);

  // A proxied error keeps the original body here. Plain text in its place is not read: it could be anything, also a token.
  const data = object["data"];
  if (isJsonObject(data) && depth > 1) yield* messagesOf(data, depth - 1);
}

/** `{"errors": {"email": ["is taken"]}}`: keys are fields. Only lists, as `{"code": "E7", "value": "Budi"}` is no message. */
function* messagesByField(object: JsonObject, depth: number): Generator<string> {
  for (const value of Object.values(object)) {
    if (Array.isArray(value)) yield* messagesIn(value, depth - 1);
  }
}

function hasMessage(object: JsonObject): boolean {
  return MESSAGE_KEYS.some((key) => object[key] != null);
}

function toMessage(text: string): string {
  return text
    .slice(0, MAX_MESSAGE_LENGTH)
    .replace(/[\s\p{Cc}]+/gu, " ")
    .trim()
    .toWellFormed();
}
