/**
 * `options=` of a connection URL: settings for the start of a session, in the form of libpq.
 *
 * The text for the server is written anew from the settings that were read, so that no escape or switch in it can change the settings
 * that account-sync appends.
 */

export interface SessionOptions {
  /** For the startup packet, before our own settings: of two values for one setting, the server uses the later one. */
  readonly text: string;
  /** Predicates of sentences about the URL. */
  readonly problems: readonly string[];
  readonly ignored: readonly string[];
}

/** The settings that account-sync gives its sessions (src/db/own-settings.ts). A URL changes none of them. */
export const OWN_SETTINGS: ReadonlySet<string> = new Set([
  "application_name",
  "client_encoding",
  "default_transaction_isolation",
  "enable_seqscan",
  "idle_in_transaction_session_timeout",
  "jit",
  "lock_timeout",
  "plan_cache_mode",
  "row_security",
  "statement_timeout",
  "synchronous_commit",
  "tcp_keepalives_count",
  "tcp_keepalives_idle",
  "tcp_keepalives_interval",
  "tcp_user_timeout",
]);

/**
 * Settings whose usual value our statements need. With another value, nulls in arrays would become the text NULL, amounts would be rounded,
 * triggers would look altered or not fire, and sessions or migrations would be terminated.
 */
export const RELIED_ON: ReadonlySet<string> = new Set([
  "array_nulls",
  "extra_float_digits",
  "idle_session_timeout",
  "quote_all_identifiers",
  "session_replication_role",
  "transaction_timeout",
]);

export function readSessionOptions(text: string): SessionOptions {
  const words: string[] = [];
  const ignored: string[] = [];
  const given = split(text);
  while (given.length > 0) {
    const setting = takeSetting(given);
    if (setting === null) return { text: "", problems: [NOT_UNDERSTOOD], ignored: [] };
    const why = OWN_SETTINGS.has(setting.name)
      ? "sets itself"
      : RELIED_ON.has(setting.name)
        ? "relies on"
        : null;
    if (why === null) words.push(...setting.words);
    else {
      ignored.push(
        `sets ${setting.name} in options=, which account-sync ${why}: the value in the URL is ignored`,
      );
    }
  }
  return { text: words.map(withEscapes).join(" "), problems: [], ignored };
}

const NOT_UNDERSTOOD =
  "has options= with something that is not a setting: write each setting as -c name=value, with %20 for a space and %3D for the = in it";

interface Setting {
  readonly name: string;
  readonly words: readonly string[];
}

/** Removes the words of one setting from the front. Null where they are not a setting. */
function takeSetting(given: string[]): Setting | null {
  const word = given.shift() ?? "";
  const assignment =
    word === "-c" ? (given.shift() ?? "") : word.replace(/^-c(?=[^-])|^--(?=[^-])/, "");
  const [, name, value] = /^([a-z_][\w.$-]*)=(.*)$/is.exec(assignment) ?? [];
  if (name === undefined) return null;
  // Words for proxies, such as endpoint=… and project=…, have no switch.
  if (assignment === word) return { name: "", words: [word] };
  const setting = name.toLowerCase().replaceAll("-", "_");
  return { name: setting, words: ["-c", `${setting}=${value}`] };
}

/** Splits as the server does: at white space; a backslash escapes the next character. */
function split(text: string): string[] {
  return [...text.matchAll(/(?:\\.|[^\s\\])+/gs)].map(([word]) => word.replaceAll(/\\(.)/gs, "$1"));
}

function withEscapes(word: string): string {
  return word.replaceAll(/[\s\\]/g, "\\$&");
}
