/**
 * Finds environment variables that are probably misspelled settings. Pure.
 *
 * A misspelled setting has no effect and causes no error, so it has to be looked for. Variables of other programs are not reported: a
 * warning that is always printed is not read.
 */
import { editDistance } from "./edit-distance.ts";
import { type Environment, isUnset } from "./environment.ts";
import { isServiceLink } from "./service-links.ts";

export interface UnknownSetting {
  readonly name: string;
  /** The known name that is spelled most like it. */
  readonly nearest: string;
  /** Similar enough to be what was probably meant. */
  readonly isNear: boolean;
}

const OUR_PREFIXES = /^(?:SYNC|CUSTOMER_API|(?:LISTEN_)?DATABASE|HTTP|LOG)_/;
/** Proxies are settings of every program that uses HTTP; hosting platforms set more than one URL of a database. */
const NOT_OURS =
  /^(?:HTTP|HTTPS|NO|ALL)_PROXY$|^(?:NODE|NPM|HTTPS)_|^DATABASE_(?:CONNECTION_POOL_URL|URL_UNPOOLED|PUBLIC_URL|PRIVATE_URL|URL_NON_POOLING)$/;

/** A name with at most this many edits is taken for a misspelled setting, whatever its prefix. */
export const SLIPS_MAX = 2;
/** Two edits make another program's name of a short one: SMTP_HOST is not HTTP_HOST. */
const SHORT_NAME_MAX = 10;

/** @param known every name that is read, including the `_FILE` forms */
export function findUnknownSettings(
  environment: Environment,
  known: readonly string[],
): UnknownSetting[] {
  return Object.entries(environment).flatMap(([name, value]) => {
    if (isUnset(value) || known.includes(name) || isServiceLink(name, value)) return [];
    const upper = name.toUpperCase();
    if (NOT_OURS.test(upper)) return [];

    const { nearest, distance } = findNearest(upper, known);
    const hasOurPrefix = OUR_PREFIXES.test(upper);
    const isNear =
      distance <= (hasOurPrefix || upper.length > SHORT_NAME_MAX ? SLIPS_MAX : SLIPS_MAX - 1);
    return isNear || hasOurPrefix ? [{ name, nearest, isNear }] : [];
  });
}

/** One sentence, without the full stop. */
export function describeUnknownSetting({ name, nearest, isNear }: UnknownSetting): string {
  const hint = isNear ? `did you mean ${nearest}?` : `the nearest one is ${nearest}`;
  return `${name} is not a setting of account-sync and is ignored; ${hint}`;
}

function findNearest(name: string, known: readonly string[]) {
  // SYNC_LEASE_MS_FILE: only secrets may come from a file.
  const withoutFile = name.replace(/_FILE$/, "");
  if (known.includes(withoutFile)) return { nearest: withoutFile, distance: 1 };

  const hasOurPrefix = OUR_PREFIXES.test(name);
  let nearest = "";
  let distance = Number.POSITIVE_INFINITY;
  for (const candidate of known) {
    // NODE_TLS_REJECT_UNAUTHORIZED is read, but it is Node's.
    if (NOT_OURS.test(candidate)) continue;
    // Most variables are far from any setting, and every start compares all of them.
    if (!hasOurPrefix && Math.abs(name.length - candidate.length) > SLIPS_MAX) continue;
    const candidateDistance = Math.min(
      editDistance(name, candidate),
      // Only with one of our prefixes: TOKEN of another program is not HTTP_TOKEN.
      hasOurPrefix ? 1 + countDifferentWords(name, candidate) : Number.POSITIVE_INFINITY,
    );
    if (candidateDistance < distance) [nearest, distance] = [candidate, candidateDistance];
  }
  return { nearest, distance };
}

/** DATABASE_MAX_POOL has the words of DATABASE_POOL_MAX; CUSTOMER_API_SECRET lacks one of CUSTOMER_API_CLIENT_SECRET. */
function countDifferentWords(one: string, other: string): number {
  const [words, otherWords] = [one.split("_"), other.split("_")];
  const isIn = (list: readonly string[]) => (word: string) => list.includes(word);
  const shared = words.filter(isIn(otherWords)).length;
  return words.length + otherWords.length - shared - otherWords.filter(isIn(words)).length;
}
