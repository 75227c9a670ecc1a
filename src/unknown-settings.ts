/**
 * Environment variables that look like settings and are none. Pure.
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

  let nearest = "";
  let distance = Number.POSITIVE_INFINITY;
  for (const candidate of known) {
    // NODE_TLS_REJECT_UNAUTHORIZED is read, but it is Node's.
    if (NOT_OURS.test(candidate)) continue;
    const candidateDistance = Math.min(
      editDistance(name, candidate),
      // Only below our prefixes: elsewhere a word more or less makes another name, as TOKEN is not HTTP_TOKEN.
      OUR_PREFIXES.test(name) ? 1 + countDifferentWords(name, candidate) : Number.POSITIVE_INFINITY,
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
