/**
 * `options=` of a connection URL: settings that a session starts with, as libpq hands them to the server.
 *
 * What is passed on is written anew from what was understood, so that no escape or switch in it reaches into the settings that
 * account-sync appends.
 */

export interface SessionOptions {
  /** For the startup packet, in front of our own settings: of two that name the same, the server takes the later one. */
  readonly text: string;
  /** Predicates of sentences about the URL. */
  readonly problems: readonly string[];
  readonly ignored: readonly string[];
}

/** The settings that account-sync gives its sessions (src/db/database.ts). A URL changes none of them. */
export const OWN_SETTINGS: ReadonlySet<string> = new Set([
  "application_name",
  "client_encoding",
  "default_transaction_isolation",
  "idle_in_transaction_session_timeout",
  "lock_timeout",
  "row_security",
  "statement_timeout",
  "synchronous_commit",
  "tcp_keepalives_count",
  "tcp_keepalives_idle",
  "tcp_keepalives_interval",
  "tcp_user_timeout",
]);

/**
 * What is right in an ordinary session, and wrong for our statements when it is changed: nulls in arrays would become the text NULL,
 * amounts would be rounded, triggers would look altered or not fire, and sessions or migrations would be cut off.
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
        ? "relies on as it is"
        : null;
    if (why === null) words.push(...setting.words);
    else {
      ignored.push(
        `sets ${setting.name} in options=, which account-sync ${why}: the one in the URL is not taken`,
      );
    }
  }
  return { text: words.map(withEscapes).join(" "), problems: [], ignored };
}

const NOT_UNDERSTOOD =
  "has options= with something else than settings: write each one as -c name=value, with %20 for a space and %3D for the = in it";

interface Setting {
  readonly name: string;
  readonly words: readonly string[];
}

/** Takes the words of one setting off the front. Null when there is none. */
function takeSetting(given: string[]): Setting | null {
  const word = given.shift() ?? "";
  const assignment =
    word === "-c" ? (given.shift() ?? "") : word.replace(/^-c(?=[^-])|^--(?=[^-])/, "");
  const [, name, value] = /^([a-z_][\w.$-]*)=(.*)$/is.exec(assignment) ?? [];
  if (name === undefined) return null;
  // The words of proxies, such as endpoint=… and project=…, carry no switch and are meant for them.
  if (assignment === word) return { name: "", words: [word] };
  const setting = name.toLowerCase().replaceAll("-", "_");
  return { name: setting, words: ["-c", `${setting}=${value}`] };
}

/** As the server splits them: at white space, and a backslash takes the next character as it is. */
function split(text: string): string[] {
  return [...text.matchAll(/(?:\\.|[^\s\\])+/gs)].map(([word]) => word.replaceAll(/\\(.)/gs, "$1"));
}

function withEscapes(word: string): string {
  return word.replaceAll(/[\s\\]/g, "\\$&");
}
