/** The parameters of a connection URL: what becomes of each one that libpq, node-postgres or another tool knows. */

/** By name, decoded. */
export type UrlParameters = ReadonlyMap<string, string>;

const TAKEN: ReadonlySet<string> = new Set([
  "host",
  "port",
  "user",
  "password",
  "dbname",
  "options",
  "ssl",
  "sslmode",
  "sslrootcert",
  "sslcert",
  "sslkey",
  "sslpassword",
  "ssl_min_protocol_version",
  "ssl_max_protocol_version",
]);

/**
 * [the values that say what happens here anyway, what to do instead of the others]. The others are refused: the session would be
 * another one than the URL asks for.
 */
const NARROWED: Readonly<Record<string, readonly [values: RegExp, instead: string]>> = {
  sslnegotiation: [/^(?:postgres|direct)$/, "it is postgres or direct"],
  channel_binding: [
    /^(?:disable|prefer)$/,
    "channel binding can be preferred but not insisted on: use channel_binding=prefer with sslmode=verify-full",
  ],
  gssencmode: [/^(?:disable|prefer)$/, "there is no GSSAPI encryption here: use sslmode"],
  target_session_attrs: [
    /^(?:any|read-write|primary)$/,
    "account-sync writes: name the primary, with target_session_attrs=read-write",
  ],
  load_balance_hosts: [/^disable$/, "name the primary and leave it out"],
  client_encoding: [/^(?:auto|utf-?8|unicode)$/i, "the driver speaks UTF8 only: leave it out"],
  encoding: [/^(?:auto|utf-?8|unicode)$/i, "the driver speaks UTF8 only: leave it out"],
  replication: [/^(?:false|off|no|0)$/, "account-sync needs an ordinary session: leave it out"],
  sslcertmode: [/^allow$/, "leave it out: sslcert and sslkey are sent when the server asks"],
  sslsni: [/^1$/, "the host's name is always told: leave it out"],
  sslcompression: [/^0$/, "there is no compression: leave it out"],
  sslcrl: [/^$/, "lists of revoked certificates are not read: leave it out"],
  sslcrldir: [/^$/, "lists of revoked certificates are not read: leave it out"],
  require_auth: [/^$/, "the method cannot be insisted on: use sslmode=verify-full"],
  requirepeer: [/^$/, "the server's user cannot be insisted on: leave it out"],
  hostaddr: [/^$/, "put the address, or a name that leads to it, in the place of the host"],
  service: [/^$/, "service files are not read: put host, user and database into the URL"],
  servicefile: [/^$/, "service files are not read: put host, user and database into the URL"],
  passfile: [/^$/, "name the file in the variable PGPASSFILE"],
};

/** What account-sync decides itself, as its guarantees hang on it. */
const OURS: ReadonlySet<string> = new Set([
  "application_name",
  "fallback_application_name",
  "connect_timeout",
  "idle_in_transaction_session_timeout",
  "keepalives",
  "keepalives_count",
  "keepalives_idle",
  "keepalives_interval",
  "lock_timeout",
  "query_timeout",
  "statement_timeout",
  "tcp_user_timeout",
]);

/** Nothing is lost without them: the driver knows no Kerberos, and reads a URL as libpq does in any case. */
const MEANINGLESS: ReadonlySet<string> = new Set([
  "gssdelegation",
  "gsslib",
  "krbsrvname",
  "uselibpqcompat",
]);

/** Of the text behind the `?`. An empty value is none. */
export function toParameters(query: string): {
  readonly parameters: UrlParameters;
  readonly problems: readonly string[];
} {
  const parameters = new Map<string, string>();
  const problems: string[] = [];
  for (const part of query.split("&").filter(Boolean)) {
    const [, rawName = "", rawValue = ""] = /^([^=]*)=(.*)$/s.exec(part) ?? [];
    // Nothing of it is repeated: it may be a part of the password.
    if (rawName === "") {
      problems.push(
        "has something behind the ? that is not name=value: in a password write ? as %3F",
      );
      continue;
    }
    const name = decode(rawName);
    // A space, as forms write it; elsewhere a plus is a plus.
    const value = decode(rawName === "options" ? rawValue.replaceAll("+", " ") : rawValue);
    if (name === null || value === null || value.includes("\0")) {
      problems.push("has a parameter that is not percent-encoded text");
      continue;
    }
    if (parameters.has(name)) problems.push(`has ${toWord(name)} twice: keep one`);
    if (value !== "") parameters.set(name, value);
  }
  return { parameters, problems };
}

export function refusalOf(name: string, value: string): string[] {
  const narrowed = Object.hasOwn(NARROWED, name) ? NARROWED[name] : undefined;
  if (narrowed !== undefined) {
    const [values, instead] = narrowed;
    return values.test(value) ? [] : [`has ${name}=${toShown(value)}: ${instead}`];
  }
  // A misspelled one would leave the session without what was meant to protect it.
  return /^(?:pg)?ssl/i.test(name) && !TAKEN.has(name)
    ? [
        `has ${toWord(name)}, which libpq does not know: it is sslmode, sslrootcert, sslcert or sslkey`,
      ]
    : [];
}

export function whyIgnored(name: string): string[] {
  if (OURS.has(name))
    return [`has ${name}, which account-sync decides itself: the one in the URL is not taken`];
  if (TAKEN.has(name) || MEANINGLESS.has(name) || Object.hasOwn(NARROWED, name)) return [];
  return [`has ${toWord(name)}, which means nothing to account-sync`];
}

/** A name that was never meant as one may be a part of a password. */
function toWord(name: string): string {
  return /^[a-z_]{2,40}$/i.test(name) ? name : "a parameter of another name";
}

function toShown(value: string): string {
  return /^[\w-]{1,30}$/.test(value) ? value : "…";
}

/** A % that encodes nothing stands for itself. Null: what is encoded is no text. */
export function decode(raw: string): string | null {
  try {
    return decodeURIComponent(raw.replaceAll(/%(?![0-9a-f]{2})/gi, "%25"));
  } catch {
    return null;
  }
}
