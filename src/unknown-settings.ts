/**
 * Environment variables that look like settings and are none, and what is missing because of them. Pure.
 *
 * A misspelled name does nothing, so nothing says that it is misspelled. Variables of other programs must not be reported: a warning that
 * is always there is not read.
 */
import { editDistance } from "./edit-distance.ts";

export type Environment = Readonly<Record<string, string | undefined>>;

export interface UnknownSetting {
  readonly name: string;
  /** The known name that is spelled most like it. */
  readonly nearest: string;
  /** So alike that it is most likely meant; else it is only the nearest there is. */
  readonly isNear: boolean;
}

const OUR_PREFIXES = /^(?:SYNC|CUSTOMER_API|(?:LISTEN_)?DATABASE|HTTP|LOG)_/;
/** Proxies are settings of every program that speaks HTTP. */
const NOT_OURS = /^(?:HTTP|HTTPS|NO|ALL)_PROXY$|^(?:NODE|NPM)_/;

/** Edits up to which a name, with any prefix, is taken for a misspelled one of ours. */
const SLIPS_MAX = 2;

/** @param known every name that is read, the `_FILE` forms included */
export function findUnknownSettings(
  environment: Environment,
  known: readonly string[],
): UnknownSetting[] {
  return Object.entries(environment).flatMap(([name, value]) => {
    if (isUnset(value) || known.includes(name) || isServiceLink(name, value)) return [];
    const upper = name.toUpperCase();
    if (NOT_OURS.test(upper)) return [];

    const { nearest, distance } = findNearest(upper, known);
    const isNear = distance <= SLIPS_MAX;
    return isNear || OUR_PREFIXES.test(upper) ? [{ name, nearest, isNear }] : [];
  });
}

/** One sentence for a person, without the full stop. */
export function describeUnknownSetting({ name, nearest, isNear }: UnknownSetting): string {
  const hint = isNear ? `is ${nearest} meant?` : `the nearest one is ${nearest}`;
  return `${name} is no setting of account-sync and is ignored: ${hint}`;
}

function findNearest(name: string, known: readonly string[]) {
  // SYNC_LEASE_MS_FILE is a file for a setting that takes none.
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
      // Only below our prefixes: elsewhere a word more or less makes another name, as TOKEN is not HTTP_TOKEN.
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

/**
 * Without a database of its own, account-sync runs on the embedded one, which holds invented accounts. None of those may go to a real API,
 * so no setting of one is accepted. Null when nothing is missing.
 */
export function describeMissingDatabase(
  environment: Environment,
  known: readonly string[],
): string | null {
  if (!isUnset(environment["DATABASE_URL"]) || !isUnset(environment["DATABASE_URL_FILE"]))
    return null;
  const needing = Object.entries(environment)
    .filter(
      ([name, value]) =>
        /^(?:CUSTOMER_API|LISTEN_DATABASE)_/.test(name) &&
        !isUnset(value) &&
        !isServiceLink(name, value),
    )
    .map(([name]) => name);
  if (needing.length === 0) return null;

  const likely = findLikelyDatabases(environment, known);
  const guess =
    likely.length === 0
      ? ""
      : ` ${enumerate(likely)} ${likely.length === 1 ? "is" : "are"} set: is DATABASE_URL meant?`;
  return `DATABASE_URL is missing, and ${enumerate(needing)} ${needing.length === 1 ? "is" : "are"} for a database of your own: the accounts of the embedded one are invented, and are sent to the sandbox only. Set DATABASE_URL, or unset ${needing.length === 1 ? needing[0] : "the others"} to try account-sync out.${guess}`;
}

/** What may have been meant by DATABASE_URL: spelled like it, known from libpq and other programs, or holding such a URL. */
function findLikelyDatabases(environment: Environment, known: readonly string[]): string[] {
  return Object.entries(environment).flatMap(([name, value]) => {
    if (isUnset(value) || known.includes(name) || isServiceLink(name, value)) return [];
    const isSpelledLikeIt = ["DATABASE_URL", "DATABASE_URL_FILE"].some(
      (wanted) => editDistance(name.toUpperCase(), wanted) <= SLIPS_MAX,
    );
    const isOfLibpq = /^PG(?:HOST|HOSTADDR|PORT|DATABASE|USER|SERVICE)$/.test(name);
    const isDatabase = /^(?:DATABASE|DB)_(?:HOST|NAME|USER|DSN)$/.test(name);
    const holdsUrl = /^postgres(?:ql)?:\/\//.test(value ?? "");
    return isSpelledLikeIt || isOfLibpq || isDatabase || holdsUrl ? [name] : [];
  });
}

/**
 * Settings that Kubernetes has set by accident: for a Service named "http" it puts `HTTP_PORT=tcp://10.0.0.1:80` into every container of the
 * namespace. One sentence each, without the full stop.
 */
export function findServiceLinkValues(environment: Environment, known: readonly string[]) {
  return known.flatMap((name) => {
    const value = environment[name];
    if (!name.endsWith("_PORT") || value === undefined || !isServiceLink(name, value)) return [];
    const service = name
      .replace(/_PORT$/, "")
      .toLowerCase()
      .replaceAll("_", "-");
    const problem = `${name} is ${value}, which Kubernetes sets where there is a Service named "${service}": say enableServiceLinks: false in the pod, or set ${name} there to a number`;
    return [{ name, problem }];
  });
}

/** What Docker and Kubernetes tell every container about the services beside it. */
function isServiceLink(name: string, value: string | undefined): boolean {
  return (
    /_SERVICE_(?:HOST|PORT(?:_\w+)?)$/.test(name) ||
    /_PORT_\d+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?$/.test(name) ||
    (name.endsWith("_PORT") && /^(?:tcp|udp|sctp):\/\//.test(value ?? ""))
  );
}

/** An empty variable is how compose files and shells write "not set". */
export function isUnset(value: string | undefined): boolean {
  return value === undefined || value === "";
}

function enumerate(names: readonly string[]): string {
  return names.length === 1
    ? (names[0] ?? "")
    : `${names.slice(0, -1).join(", ")} and ${names.at(-1)}`;
}
