/**
 * Refuses settings of an API where DATABASE_URL is missing. Without it, account-sync runs on the embedded database, whose accounts are
 * invented and must not be sent to a real API. Pure.
 */
import { editDistance } from "./edit-distance.ts";
import { type Environment, isUnset } from "./environment.ts";
import { isServiceLink } from "./service-links.ts";
import { SLIPS_MAX } from "./unknown-settings.ts";

/** One sentence; null when nothing is missing. */
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
      : ` ${enumerate(likely)} ${likely.length === 1 ? "is" : "are"} set: did you mean DATABASE_URL?`;
  return `DATABASE_URL is missing, and ${enumerate(needing)} ${needing.length === 1 ? "is" : "are"} for a database of your own: the accounts of the embedded database are invented, and are sent to the sandbox. Set DATABASE_URL, or unset ${needing.length === 1 ? needing[0] : "the others"} to try account-sync out.${guess}`;
}

/** Variables that were probably meant as DATABASE_URL: by their spelling, by a name that other programs use, or by their value. */
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

function enumerate(names: readonly string[]): string {
  return names.length === 1
    ? (names[0] ?? "")
    : `${names.slice(0, -1).join(", ")} and ${names.at(-1)}`;
}
