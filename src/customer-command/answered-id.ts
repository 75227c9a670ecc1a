/** The two ids that an item of an answer may hold: the API's, and ours under the reference field. */
import type { AnswerItem } from "../customer-api/answer.ts";
import { toIdText } from "../exact-json.ts";

/** A `varchar(255)` has to hold it, and a blank id counts as none. */
const EXTERNAL_ID_CHARACTERS_MAX = 255;

/** Whether the API's id may be written to a row. */
export function isUsableId(id: string | null): id is string {
  return id !== null && id.trim() !== "" && !isLonger(id, EXTERNAL_ID_CHARACTERS_MAX);
}

/** In characters, as a `varchar` counts them; the length of a text counts some twice. */
function isLonger(text: string, max: number): boolean {
  return text.length > max && [...text].length > max;
}

/** Our local id, as the API returns it; null when it returns none. */
export function echoedReference(item: AnswerItem, referenceField: string | null): string | null {
  const reference = referenceField === null ? null : toIdText(item.raw[referenceField]);
  return reference === null || reference.trim() === "" ? null : reference;
}
