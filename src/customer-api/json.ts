/** JSON of an API, of which nothing is known yet. Pure. */
import { parseExactJson } from "../exact-json.ts";

export type JsonObject = Readonly<Record<string, unknown>>;

/** undefined when the text is no JSON. Ids may be numbers of any length. */
export function parseJson(text: string): unknown {
  try {
    return parseExactJson(text);
  } catch {
    return undefined;
  }
}

/** False for an array. */
export function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
