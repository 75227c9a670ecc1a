/**
 * A connection URL, read as libpq reads it → the options for node-postgres, and the problems in sentences.
 *
 * The reader of node-postgres is not used: values of the URL replace the options given beside it, including our timeouts and settings, and
 * it reads some forms and modes differently from libpq. `new URL()` refuses some of the forms
 * (`postgres://user:password@/database?host=/cloudsql/…`).
 */
import { isIP } from "node:net";
import type { ClientConfig } from "pg";
import type { Environment } from "../environment.ts";
import { isLoopback } from "../loopback.ts";
import { OperatorError } from "../operator-error.ts";
import { readSessionOptions } from "./session-options.ts";
import { readTlsOptions, type SslMode } from "./tls-options.ts";
import { decode, refusalOf, toParameters, whyIgnored } from "./url-parameters.ts";

/** The settings that hold a connection URL. */
export type UrlSetting = "DATABASE_URL" | "LISTEN_DATABASE_URL";

export interface ConnectionUrl {
  /** Host, port, database, role and encryption. Everything else is set by account-sync. */
  readonly client: ClientConfig;
  /** Of `options=`: goes before our own settings. */
  readonly options: string;
  /** For messages: `db.example.com:5432/crm`, without user and password. */
  readonly place: string;
  /** A socket or a loopback address: the connection uses no network. */
  readonly isLocal: boolean;
  /** null: the URL has no mode, and the session is in clear text. */
  readonly sslmode: SslMode | null;
  /** The server is verified, and not only the session encrypted. */
  readonly isVerified: boolean;
  /** Predicates of a sentence about the URL: the parameters that are ignored. */
  readonly ignored: readonly string[];
}

export interface ReadUrl {
  readonly connection: ConnectionUrl;
  /** Predicates of a sentence about the URL, without its secrets: "has sslmode=prefer, …". */
  readonly problems: readonly string[];
}

/** @throws OperatorError that names every problem: of a URL that was not in the configuration, or of a file that is gone since */
export function parseConnectionUrl(text: string): ConnectionUrl {
  const { connection, problems } = readConnectionUrl(text);
  if (problems.length === 0) return connection;
  throw new OperatorError(`The URL of the database ${problems.join("; it ")}.`, {
    hint: "Correct DATABASE_URL, or LISTEN_DATABASE_URL where it is set; docs/database-connection.md lists what it may contain.",
    exitCode: 2,
  });
}

export function readConnectionUrl(text: string): ReadUrl {
  const parts = split(text);
  if (typeof parts === "string") return { connection: NOWHERE, problems: [parts] };
  const { parameters, problems: unread } = toParameters(parts.query);
  const problems = [...unread];
  const get = (name: string) => parameters.get(name);
  const decoded = (name: string, raw: string | undefined) => {
    const value = get(name) ?? (raw === undefined || raw === "" ? undefined : decode(raw));
    if (value === null || value?.includes("\0"))
      problems.push(`has a ${name} that is not percent-encoded text`);
    return value ?? undefined;
  };

  const host = decoded("host", parts.host) ?? "localhost";
  const port = decoded("port", parts.port) ?? "5432";
  const user = decoded("user", parts.user);
  const password = decoded("password", parts.password);
  const database = decoded("dbname", parts.database);
  const isSocket = host.startsWith("/");
  problems.push(...problemsOfPlace(host, port));
  for (const [name, value] of parameters) problems.push(...refusalOf(name, value));

  const encryption = readTlsOptions(get);
  const options = readSessionOptions(get("options") ?? "");
  problems.push(...encryption.problems, ...options.problems);
  const sslnegotiation = get("sslnegotiation");
  if (sslnegotiation === "direct" && encryption.mode === "disable")
    problems.push("has sslnegotiation=direct with sslmode=disable: use sslmode=verify-full");

  const ssl = isSocket ? false : encryption.ssl;
  return {
    connection: {
      client: {
        host,
        port: Number(port),
        ...(user === undefined ? {} : { user }),
        ...(password === undefined ? {} : { password }),
        ...(database === undefined ? {} : { database }),
        // Always set: otherwise the driver reads the environment.
        ssl,
        sslnegotiation: ssl !== false && sslnegotiation === "direct" ? "direct" : "postgres",
        enableChannelBinding: ssl !== false && get("channel_binding") === "prefer",
      },
      options: options.text,
      place: toPlace({ host, port, database }),
      isLocal: isSocket || isLoopback(host),
      sslmode: encryption.mode,
      isVerified: encryption.isVerified,
      ignored: [...options.ignored, ...[...parameters.keys()].flatMap(whyIgnored)],
    },
    problems,
  };
}

/** The variables that libpq uses where the URL has no value. */
const ENVIRONMENT = [
  ["host", "PGHOST"],
  ["port", "PGPORT"],
  ["user", "PGUSER"],
  ["password", "PGPASSWORD"],
  ["dbname", "PGDATABASE"],
  ["options", "PGOPTIONS"],
  ["sslmode", "PGSSLMODE"],
  ["sslnegotiation", "PGSSLNEGOTIATION"],
  ["sslrootcert", "PGSSLROOTCERT"],
  ["sslcert", "PGSSLCERT"],
  ["sslkey", "PGSSLKEY"],
] as const;

/** The URL with the values of libpq's variables that it lacks, so that no other code reads these variables. */
export function completeUrl(text: string, environment: Environment): string {
  const parts = split(text);
  // The configuration reports what is wrong with it.
  if (typeof parts === "string") return text;
  const { parameters } = toParameters(parts.query);
  const has = (name: string) => {
    const raw = name === "dbname" ? parts.database : parts[name as keyof UrlParts];
    return parameters.has(name) || (raw !== undefined && raw !== "");
  };
  const saysMode =
    has("sslmode") || has("ssl") || has("sslrootcert") || Boolean(environment["PGSSLMODE"]);
  const added = ENVIRONMENT.flatMap(([name, variable]) => {
    const value = environment[variable];
    if (value === undefined || value === "" || has(name)) return [];
    // A mode given as ssl= wins. Without any mode, PGSSLROOTCERT and the like are ignored.
    if (name === "sslmode" ? has("ssl") : name.startsWith("ssl") && !saysMode) return [];
    return [`${name}=${encodeURIComponent(value)}`];
  });
  if (added.length === 0) return text;
  return `${text.trim()}${text.includes("?") ? "&" : "?"}${added.join("&")}`;
}

interface UrlParts {
  readonly user: string | undefined;
  readonly password: string | undefined;
  readonly host: string | undefined;
  readonly port: string | undefined;
  readonly database: string | undefined;
  readonly query: string;
}

/** Still percent-encoded. A string describes what is wrong. Secrets from files often end with a newline. */
function split(text: string): UrlParts | string {
  const [, authority, database, query = ""] =
    /^postgres(?:ql)?:\/\/([^/?]*)(?:\/([^?]*))?(?:\?(.*))?$/is.exec(text.trim()) ?? [];
  if (authority === undefined)
    return "must be a URL like postgres://user:password@host:5432/database";

  // Nothing of it is repeated: it is a part of the password. An address in a database's name is written as %40.
  if (database?.includes("@"))
    return "has an @ behind the host: in user and password write : / ? # @ % as %3A %2F %3F %23 %40 %25";

  // The last @: a password may have one that is not encoded.
  const at = authority.lastIndexOf("@");
  const [user, password] = at === -1 ? [] : cut(authority.slice(0, at), ":");
  const place = authority.slice(at + 1);
  if (place.includes(",")) return "names several hosts: name the primary, or one address for it";
  const [, host, port] = /^(\[[^\]@]*\]|[^\s:[\]@#]*)(?::(\d*))?$/.exec(place) ?? [];
  // The message repeats nothing of it: it may be a part of the password.
  if (host === undefined)
    return "has no readable host and port: in user and password write : / ? # @ % as %3A %2F %3F %23 %40 %25";
  return { user, password, host: host.replace(/^\[(.*)\]$/, "$1"), port, database, query };
}

function cut(text: string, mark: string): [string, string | undefined] {
  const position = text.indexOf(mark);
  return position === -1
    ? [text, undefined]
    : [text.slice(0, position), text.slice(position + mark.length)];
}

function problemsOfPlace(host: string, port: string): string[] {
  if (/,/.test(host + port))
    return ["names several hosts: name the primary, or one address for it"];
  return [
    ...(/^(?:\/.*|[^\s/?#@[\]]+)$/.test(host) ? [] : ["has an invalid host"]),
    ...(/^\d+$/.test(port) && Number(port) > 0 && Number(port) <= 65_535
      ? []
      : ["has an invalid port: it must be 1 to 65535"]),
  ];
}

function toPlace(at: { host: string; port: string; database: string | undefined }): string {
  const database = at.database === undefined ? "" : `/${at.database}`;
  if (at.host.startsWith("/"))
    return `${at.host}${database === "" ? "" : `, database ${at.database}`}`;
  return `${isIP(at.host) === 6 ? `[${at.host}]` : at.host}:${at.port}${database}`;
}

const NOWHERE: ConnectionUrl = {
  client: {},
  options: "",
  place: "DATABASE_URL",
  isLocal: false,
  sslmode: null,
  isVerified: false,
  ignored: [],
};
