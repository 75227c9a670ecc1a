/**
 * The API's error body as a caller is told it: whole, so that codes, field errors and trace ids can be used, but masked and bounded. Pure.
 */
import { isJsonObject, type JsonObject } from "./json.ts";
import type { Mask } from "./mask.ts";

/** null where the body is neither an object nor a list, or is empty. */
export function toMaskedError(json: unknown, mask: Mask): JsonObject | null {
  const body = Array.isArray(json) ? { errors: json } : json;
  if (!isJsonObject(body) || Object.keys(body).length === 0) return null;

  const left = { values: VALUES_MAX, characters: CHARACTERS_MAX };
  const masked = maskObject(body, { mask, left, depth: DEPTH_MAX });
  // An error that stands within the body is told by its own keys, too: `details.code` wherever the API puts it.
  const inner = masked["error"];
  return isJsonObject(inner) ? { ...inner, ...masked } : masked;
}

const DEPTH_MAX = 6;
const VALUES_MAX = 200;
const CHARACTERS_MAX = 16_000;
const KEY_CHARACTERS_MAX = 100;

/** Keys, without case and separators, whose values name an error or a request at the API. */
const NAMING_KEYS =
  /^x?(?:code|errorcode|statuscode|status|type|timestamp|time|id|traceparent|(?:trace|span|request|correlation|transaction|event|incident|error|log)(?:id|uuid)|reference)$/;
const NAME = /^[\w.:+/=-]{1,200}$/;

interface Bounds {
  readonly mask: Mask;
  readonly left: { values: number; characters: number };
  readonly depth: number;
}

function maskObject(object: JsonObject, bounds: Bounds): JsonObject {
  const entries: [string, unknown][] = [];
  for (const [key, value] of Object.entries(object)) {
    if (!mayGoOn(bounds)) break;
    const shown = bounds.mask.text(key.slice(0, KEY_CHARACTERS_MAX));
    bounds.left.characters -= shown.length;
    const isNaming = NAMING_KEYS.test(key.toLowerCase().replaceAll(/[\s_-]/g, ""));
    entries.push([shown, maskValue(value, isNaming, bounds)]);
  }
  return Object.fromEntries(entries);
}

function maskValue(value: unknown, isNaming: boolean, bounds: Bounds): unknown {
  const { left, depth } = bounds;
  left.values -= 1;
  if (typeof value === "object" && value !== null) {
    if (depth === 1) return "…";
    const inner = { ...bounds, depth: depth - 1 };
    return Array.isArray(value) ? maskList(value, inner) : maskObject(value as JsonObject, inner);
  }
  if (typeof value !== "string" && typeof value !== "number") return value;

  const text = String(value);
  const mask = isNaming && NAME.test(text) ? bounds.mask.name : bounds.mask.text;
  const masked = mask(text).slice(0, Math.max(left.characters, 0));
  left.characters -= masked.length;
  return masked === text ? value : masked;
}

function maskList(list: readonly unknown[], bounds: Bounds): unknown[] {
  const shown: unknown[] = [];
  for (const value of list) {
    if (!mayGoOn(bounds)) break;
    shown.push(maskValue(value, false, bounds));
  }
  return shown;
}

function mayGoOn({ left }: Bounds): boolean {
  return left.values > 0 && left.characters > 0;
}
