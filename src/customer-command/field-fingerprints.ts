/**
 * A fingerprint of each field of a command, to find out which fields changed after the command itself is deleted.
 *
 * Four hex digits: too short to find the value by trying. Of a million phone numbers, fifteen have the same one, whatever the function
 * that makes them, so it need not be a cryptographic one: SHA-256 took 80 µs for the sixty fields of a usual command, as much CPU as its
 * whole request. One change in 65,536 goes unseen in its field, but not in the fingerprint of the whole command. The account's id and the
 * field's path are part of each, so that equal values have different ones.
 *
 * They are kept as a text in the form of the command, `2(customer(name:0f3aemail:77c2)tier[(fee:10b4)])`: half as long as a path for each,
 * and the journal stores it without taking it apart.
 */
import { hash } from "node:crypto";
import { fieldsOf } from "./field-paths.ts";

/** As they are kept: the text that is made now, or what versions before it kept, by path. */
export type FieldFingerprints = string | FingerprintsByPath;

/** Path in the command → fingerprint of the value there. */
export type FingerprintsByPath = Readonly<Record<string, string>>;

/** About seventy tiers with as many contact persons. Of a larger command only the whole fingerprint is kept. */
const FIELDS_KEPT_MAX = 1_000;

const VERSION = "2";

/** null when there are more fields than are kept. */
export function fingerprintFields(data: object, accountId: string): string | null {
  const made = { fields: 0 };
  const text = toText(made, data, mix(SEED, accountId));
  return made.fields > FIELDS_KEPT_MAX ? null : VERSION + text;
}

/** The fingerprints that are kept, and those of other data made in the same way; null when it is not known how. */
export function fingerprintFieldsLike(
  kept: FieldFingerprints,
  data: object,
  accountId: string,
): { readonly kept: FingerprintsByPath; readonly made: FingerprintsByPath } | null {
  if (typeof kept === "object") return { kept, made: fingerprintBySha256(data, accountId) };
  if (!kept.startsWith(VERSION)) return null;
  const made = fingerprintFields(data, accountId);
  return made === null ? null : { kept: fingerprintsByPath(kept), made: fingerprintsByPath(made) };
}

function toText(made: { fields: number }, value: unknown, seed: number): string {
  if (made.fields > FIELDS_KEPT_MAX) return "";
  if (Array.isArray(value)) {
    let text = "[";
    for (const [index, item] of value.entries()) text += toText(made, item, mix(seed, `[${index}`));
    return `${text}]`;
  }
  if (typeof value === "object" && value !== null) {
    let text = "(";
    for (const key of Object.keys(value))
      text += key + toText(made, (value as Record<string, unknown>)[key], mix(seed, `.${key}`));
    return `${text})`;
  }
  made.fields += 1;
  return `:${toFingerprint(seed, value)}`;
}

/** Keys have none of the signs that the text is made with, and a fingerprint has four digits. */
const TOKENS = /:([0-9a-f]{4})|[([\])]|[^:([\])]+/g;

/** Of a text of this version. */
export function fingerprintsByPath(text: string): FingerprintsByPath {
  const fingerprints: Record<string, string> = {};
  /** The places that are open: an object's key, or the next index of a list. */
  const open: (string | number)[] = [];
  for (const [token, fingerprint] of text.slice(VERSION.length).matchAll(TOKENS)) {
    if (token === "(") open.push("");
    else if (token === "[") open.push(0);
    else if (token === ")" || token === "]") open.pop();
    else if (fingerprint === undefined) open[open.length - 1] = token;
    else fingerprints[toPath(open)] = fingerprint;

    const isItemOver = token === ")" || token === "]" || fingerprint !== undefined;
    const place = open.at(-1);
    if (isItemOver && typeof place === "number") open[open.length - 1] = place + 1;
  }
  return fingerprints;
}

function toPath(places: readonly (string | number)[]): string {
  return places.reduce<string>((path, place) => {
    if (typeof place === "number") return `${path}[${place}]`;
    return path === "" ? place : `${path}.${place}`;
  }, "");
}

/** @param seed of the account and the path */
function toFingerprint(seed: number, value: unknown): string {
  const mixed = mix(seed, typeof value === "string" ? `"${value}` : `=${String(value)}`);
  return (spread(mixed) & 0xffff).toString(16).padStart(4, "0");
}

/** FNV-1a in 32 bits, one UTF-16 unit at a time. */
const SEED = 0x811c9dc5;
const PRIME = 0x01000193;

function mix(state: number, text: string): number {
  let mixed = state;
  for (let index = 0; index < text.length; index += 1) {
    mixed = Math.imul(mixed ^ text.charCodeAt(index), PRIME);
  }
  return mixed;
}

/** The end of MurmurHash3, by which each bit depends on all: of FNV alone the lower half does not. */
function spread(state: number): number {
  let mixed = state ^ (state >>> 16);
  mixed = Math.imul(mixed, 0x85ebca6b);
  mixed ^= mixed >>> 13;
  mixed = Math.imul(mixed, 0xc2b2ae35);
  return mixed ^ (mixed >>> 16);
}

/** As they were made before there was a version. */
function fingerprintBySha256(data: object, accountId: string): FingerprintsByPath {
  return Object.fromEntries(
    fieldsOf(data).map(({ path, value }) => [
      path,
      hash("sha256", JSON.stringify([accountId, path, value])).slice(0, 4),
    ]),
  );
}
