/** The parameters of a connection URL: which are used, refused or ignored. */

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
 * [the values that match what happens anyway, what to do instead of other values]. Other values are refused, as the session would not be
 * the one that the URL asks for.
 */
const NARROWED: Readonly<Record<string, readonly [values: RegExp, instead: string]>> = {
  sslnegotiation: [/^(?:postgres|direct)$/, "it must be postgres or direct"],
  channel_binding: [
    /^(?:disable|prefer)$/,
    "the driver can prefer channel binding, but not enforce it: use channel_binding=prefer with sslmode=verify-full",
  ],
  gssencmode: [/^(?:disable|prefer)$/, "there is no GSSAPI encryption here: use sslmode"],
  target_session_attrs: [
    /^(?:any|read-write|primary)$/,
    "account-sync writes: name the primary, with target_session_attrs=read-write",
  ],
  load_balance_hosts: [/^disable$/, "name the primary and leave it out"],
  client_encoding: [/^(?:auto|utf-?8|unicode)$/i, "the driver supports UTF8 only: leave it out"],
  encoding: [/^(?:auto|utf-?8|unicode)$/i, "the driver supports UTF8 only: leave it out"],
  replication: [/^(?:false|off|no|0)$/, "account-sync needs an ordinary session: leave it out"],
  sslcertmode: [/^allow$/, "leave it out: sslcert and sslkey are sent when the server asks"],
  sslsni: [/^1$/, "the host's name is always sent: leave it out"],
  sslcompression: [/^0$/, "there is no compression: leave it out"],
  sslcrl: [/^$/, "lists of revoked certificates are not read: leave it out"],
  sslcrldir: [/^$/, "lists of revoked certificates are not read: leave it out"],
  require_auth: [/^$/, "the driver cannot enforce a method: use sslmode=verify-full"],
  requirepeer: [/^$/, "the driver cannot check the server's user: leave it out"],
  hostaddr: [/^$/, "use the address, or a name for it, as the host"],
  service: [/^$/, "service files are not read: put host, user and database into the URL"],
  servicefile: [/^$/, "service files are not read: put host, user and database into the URL"],
  passfile: [/^$/, "name the file in the variable PGPASSFILE"],
};

/** Set by account-sync, as its guarantees depend on them. */
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

/** They have no effect: the driver does not support Kerberos, and a URL is always read as by libpq. */
const MEANINGLESS: ReadonlySet<string> = new Set([
  "gssdelegation",
  "gsslib",
  "krbsrvname",
  "uselibpqcompat",
]);

/** Of the text after the `?`. A parameter with an empty value is left out. */
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
        "has something after the ? that is not name=value: in a password write ? as %3F",
      );
      continue;
    }
    const name = decode(rawName);
    // In options, + is a space, as in forms; elsewhere it is a plus.
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
  // A misspelled name would leave the session without the protection that was wanted.
  return /^(?:pg)?ssl/i.test(name) && !TAKEN.has(name)
    ? [
        `has ${toWord(name)}, which libpq does not know: use sslmode, sslrootcert, sslcert or sslkey`,
      ]
    : [];
}

export function whyIgnored(name: string): string[] {
  if (OURS.has(name))
    return [`has ${name}, which account-sync sets itself: the value in the URL is ignored`];
  if (TAKEN.has(name) || MEANINGLESS.has(name) || Object.hasOwn(NARROWED, name)) return [];
  return [`has ${toWord(name)}, which is unknown to account-sync`];
}

/** Something that is not a name may be a part of a password. */
function toWord(name: string): string {
  return /^[a-z_]{2,40}$/i.test(name) ? name : "a parameter of another name";
}

function toShown(value: string): string {
  return /^[\w-]{1,30}$/.test(value) ? value : "…";
}

/** A % that encodes nothing is a %. Null where the encoded bytes are not text. */
export function decode(raw: string): string | null {
  try {
    return decodeURIComponent(raw.replaceAll(/%(?![0-9a-f]{2})/gi, "%25"));
  } catch {
    return null;
  }
}
