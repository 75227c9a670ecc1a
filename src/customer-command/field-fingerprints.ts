/**
 * A fingerprint of each field of a command, to find out which fields changed after the command itself is deleted.
 *
 * Four hex digits: too short to find the value by trying. Of a million phone numbers, fifteen have the same one, whatever the function
 * that makes them, so it need not be a cryptographic one: SHA-256 took 80 µs for the sixty fields of a usual command, as much CPU as its
 * whole request. One change in 65,536 goes unseen in its field, but not in the fingerprint of the whole command. The account's id is part
 * of each, so that equal values of two accounts have different ones.
 */
import { hash } from "node:crypto";
import { fieldsOf } from "./field-paths.ts";

/** Path in the command → fingerprint of the value there. Under the path of no field (`""`) stands by which version they were made. */
export type FieldFingerprints = Readonly<Record<string, string>>;

/** About seventy tiers with as many contact persons. Of a larger command only the whole fingerprint is kept. */
const FIELDS_KEPT_MAX = 1_000;

/** Without a version, fingerprints are those that SHA-256 made: the journal has them for as long as it is kept. */
const VERSION_PATH = "";
const VERSION = "0002";

/** null when there are more fields than are kept. */
export function fingerprintFields(data: object, accountId: string): FieldFingerprints | null {
  const made: Made = { fields: 0, fingerprints: { [VERSION_PATH]: VERSION } };
  addFields(made, data, ROOT, mix(SEED, accountId));
  return made.fields > FIELDS_KEPT_MAX ? null : made.fingerprints;
}

/** Made as `kept` were, so that they can be compared; null when it is not known how. */
export function fingerprintFieldsLike(
  kept: FieldFingerprints,
  data: object,
  accountId: string,
): FieldFingerprints | null {
  switch (kept[VERSION_PATH]) {
    case undefined:
      return fingerprintFieldsBySha256(data, accountId);
    case VERSION:
      return fingerprintFields(data, accountId);
    default:
      return null;
  }
}

/** The paths of the fields that have a fingerprint. */
export function pathsOf(fingerprints: FieldFingerprints): string[] {
  return Object.keys(fingerprints).filter((path) => path !== VERSION_PATH);
}

interface Made {
  fields: number;
  readonly fingerprints: Record<string, string>;
}

/** A place in a command. Each path is made once: the commands of a daemon have the same few hundred, as larger ones keep none. */
interface Place {
  readonly path: string;
  readonly keys: Map<string, Place>;
  readonly items: Place[];
}

const ROOT = toPlace("");

function addFields(made: Made, value: unknown, place: Place, seed: number): void {
  if (made.fields > FIELDS_KEPT_MAX) return;
  if (Array.isArray(value)) {
    for (let index = 0; index < value.length; index += 1) {
      addFields(made, value[index], itemOf(place, index), seed);
    }
  } else if (typeof value === "object" && value !== null) {
    for (const key of Object.keys(value)) {
      addFields(made, (value as Record<string, unknown>)[key], keyOf(place, key), seed);
    }
  } else {
    made.fields += 1;
    made.fingerprints[place.path] = toFieldFingerprint(seed, place.path, value);
  }
}

function itemOf({ path, items }: Place, index: number): Place {
  const known = items[index];
  if (known !== undefined) return known;
  const item = toPlace(`${path}[${index}]`);
  items[index] = item;
  return item;
}

function keyOf({ path, keys }: Place, key: string): Place {
  const known = keys.get(key);
  if (known !== undefined) return known;
  const below = toPlace(path === "" ? key : `${path}.${key}`);
  keys.set(key, below);
  return below;
}

function toPlace(path: string): Place {
  return { path, keys: new Map(), items: [] };
}

/** @param seed of the account */
function toFieldFingerprint(seed: number, path: string, value: unknown): string {
  const mixed = mix(mix(seed, path), typeof value === "string" ? `"${value}` : String(value));
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
function fingerprintFieldsBySha256(data: object, accountId: string): FieldFingerprints {
  return Object.fromEntries(
    fieldsOf(data).map(({ path, value }) => [
      path,
      hash("sha256", JSON.stringify([accountId, path, value])).slice(0, 4),
    ]),
  );
}
