/**
 * Where to send: from the environment, or a row of `m_backend_ext_config`. Rows are read again every few seconds, so an edit is
 * picked up without a restart; the token belongs to the connection's values and goes with them.
 *
 * The environment's credentials (token, client credentials, CUSTOMER_API_HEADERS) belong to the origin of CUSTOMER_API_URL. A row with
 * another origin gets none of them, or whoever may write the table could have them sent anywhere. Without a CUSTOMER_API_URL they can
 * only be meant for the rows, and CUSTOMER_API_ALLOWED_ORIGINS bounds where those may point.
 */
import { z } from "zod";
import { isStateUnknown, type Obstacle } from "../obstacle.ts";
import { whyNotAllowed } from "./allowed-url.ts";
import type { ApiAuth, ApiConnection } from "./customer-api.ts";

export interface ConnectionSettings {
  /** Base URL from the environment; null takes a row of the table. */
  readonly url: string | null;
  readonly configId: string | null;
  readonly createPath: string | null;
  readonly updateMethod: ApiConnection["updateMethod"];
  readonly updatePath: string | null;
  readonly lookupPath: string | null;
  readonly auth: ApiAuth;
  readonly headers: Readonly<Record<string, string>>;
  readonly tokenStyle: "form" | "json";
  readonly allowedOrigins: readonly string[] | null;
  readonly insecure: boolean;
}

export interface Connections {
  /** Resolves with an error text when there is no such configuration, or it may not be used. */
  of(configId: string | null): Promise<ApiConnection | { readonly error: string }>;
  /** What there is to choose from, read anew: the environment's first, then the rows, newest first. Never a secret. */
  list(): Promise<ListedConnection[]>;
  /**
   * Milliseconds until it makes sense to claim, 0 for now. The default configuration is every account's: while it cannot be used nothing
   * else need be tried than, now and then, whether it can be.
   */
  available(): number;
  /** How many claims make sense now: one, to try, while the default configuration cannot be used; any number else. */
  slots(): number;
  /** The default configuration cannot be used; null when it can, or was not tried lately. */
  findObstacle(): Obstacle | null;
  /** The configuration that was used by default last; null when none was. */
  lastDefault(): Pick<ApiConnection, "configId"> | null;
  /** Where customers are sent by default; null when that is not known. */
  defaultBaseUrl(): Promise<string | null>;
}

export interface ListedConnection {
  /** What to ask for it by; null for the one of CUSTOMER_API_URL. */
  readonly id: string | null;
  readonly name: string | null;
  /** Origin and path only; null where it is none. */
  readonly baseUrl: string | null;
  readonly isActive: boolean;
  /** Taken when none is asked for. */
  readonly isDefault: boolean;
  readonly isUsable: boolean;
  /** Why it cannot be used; null when it can. */
  readonly reason: string | null;
}

const CREATE_PATH = "/api/customer/command";
const REREAD_EVERY_MS = 5_000;

/** @param readRows the rows of `m_backend_ext_config`; null where the database has no such table */
export function createConnections(
  readRows: (() => Promise<readonly unknown[]>) | null,
  settings: ConnectionSettings,
  /** The default configuration cannot be used, for this reason; null: it can again. Told once. */
  onUsable: (error: string | null) => void = () => {},
): Connections {
  let unusable: {
    readonly error: string;
    readonly sinceMs: number;
    readonly untilMs: number;
  } | null = null;
  let lastDefault: ApiConnection | null = null;
  let rows: { readonly at: number; readonly configs: Promise<Config[]> } | null = null;

  const readAll = async () =>
    readRows === null ? [] : (await readRows()).map((row) => configShape.parse(row));

  const readConfigs = () => {
    if (rows !== null && performance.now() - rows.at < REREAD_EVERY_MS) return rows.configs;
    const configs = readAll();
    // A failed read is not remembered.
    configs.catch(() => {
      rows = null;
    });
    rows = { at: performance.now(), configs };
    return configs;
  };

  async function find(
    configId: string | null,
  ): Promise<ApiConnection | { readonly error: string }> {
    if (configId === null && settings.url !== null)
      return checked(fromEnvironment(settings, settings.url), settings);
    if (readRows === null) {
      return {
        error: "There is no table m_backend_ext_config in this database: set CUSTOMER_API_URL",
      };
    }
    const config = choose(await readConfigs(), configId);
    if (config === null) {
      return {
        error:
          configId === null
            ? 'No active row of m_backend_ext_config has a name with "customer" or a url with /customer/command: add one, or set CUSTOMER_API_URL'
            : `m_backend_ext_config has no active row with id ${configId}`,
      };
    }
    return fromRow(config, settings);
  }

  function noteDefault(error: string | null): void {
    const before = unusable?.error ?? null;
    const now = performance.now();
    unusable =
      error === null
        ? null
        : { error, sinceMs: unusable?.sinceMs ?? now, untilMs: now + REREAD_EVERY_MS };
    if (error !== before) onUsable(error);
  }

  return {
    async of(requestedId) {
      const found = await find(requestedId ?? settings.configId);
      if (requestedId === null) {
        noteDefault("error" in found ? found.error : null);
        if (!("error" in found)) lastDefault = found;
      }
      return found;
    },
    async list() {
      const configs = await readAll();
      const byDefault = settings.url !== null && settings.configId === null;
      const chosen = byDefault ? null : choose(configs, settings.configId);
      const fromRows = configs.map((config) => ({
        id: config.id,
        name: config.name,
        isActive: config.isActive,
        isDefault: config === chosen,
        ...toListed(
          config.baseUrl,
          config.isActive ? fromRow(config, settings) : { error: "It is not active" },
        ),
      }));
      if (settings.url === null) return fromRows;
      const ours = {
        id: null,
        name: "CUSTOMER_API_URL",
        isActive: true,
        isDefault: byDefault,
        ...toListed(settings.url, checked(fromEnvironment(settings, settings.url), settings)),
      };
      return [ours, ...fromRows];
    },
    available: () => Math.max(0, (unusable?.untilMs ?? 0) - performance.now()),
    slots: () => (unusable === null ? Number.POSITIVE_INFINITY : 1),
    findObstacle() {
      if (unusable === null || isStateUnknown(unusable.untilMs, performance.now())) return null;
      const { error, sinceMs, untilMs } = unusable;
      return { by: "configuration", reason: error, sinceMs, untilMs };
    },
    lastDefault: () => lastDefault,
    async defaultBaseUrl() {
      // Asked for by what reports on the queue, which must not fail for a row that cannot be read.
      const found = await find(settings.configId).catch(() => null);
      return found === null || "error" in found ? null : found.baseUrl;
    },
  };
}

const configShape = z.object({
  id: z.string(),
  name: z.string().nullable(),
  baseUrl: z.string().nullable(),
  tokenUrl: z.string().nullable(),
  clientId: z.string().nullable(),
  clientSecret: z.string().nullable(),
  defaultScope: z.string().nullable(),
  tokenExpiresIn: z.number().nullable(),
  additionalHeaders: z.string().nullable(),
  method: z.string().nullable(),
  path: z.string().nullable(),
  isActive: z.boolean(),
});
type Config = z.infer<typeof configShape>;

function choose(configs: readonly Config[], configId: string | null): Config | null {
  const active = configs.filter((config) => config.isActive);
  if (configId !== null) {
    // PostgreSQL writes uuids in small letters, people in any.
    const lowerCased = configId.toLowerCase();
    return (
      active.find(({ id }) => id === configId) ??
      active.find(({ id }) => id.toLowerCase() === lowerCased) ??
      null
    );
  }
  const isForCustomers = (config: Config) =>
    (config.name ?? "").toLowerCase().includes("customer") ||
    (config.path ?? "").includes("/customer/command");
  return active.find(isForCustomers) ?? null;
}

/** Without user, password and query, which may hold secrets. */
function toListed(
  baseUrl: string | null,
  connection: ApiConnection | { readonly error: string },
): Pick<ListedConnection, "baseUrl" | "isUsable" | "reason"> {
  const url = baseUrl === null ? null : URL.parse(baseUrl);
  const isWeb = url !== null && /^https?:$/.test(url.protocol);
  return {
    baseUrl: isWeb ? `${url.origin}${url.pathname.replace(/\/+$/, "")}` : null,
    isUsable: !("error" in connection),
    reason: "error" in connection ? connection.error : null,
  };
}

function fromEnvironment(settings: ConnectionSettings, url: string): ApiConnection {
  const createPath = settings.createPath ?? CREATE_PATH;
  const baseUrl = url.replace(/\/+$/, "");
  return {
    configId: null,
    baseUrl,
    createMethod: "POST",
    createPath,
    updateMethod: settings.updateMethod,
    updatePath: settings.updatePath ?? `${createPath}/{id}`,
    lookupPath: settings.lookupPath,
    auth: withTokenUrl(settings.auth, tokenUrlFor(null, settings, baseUrl)),
    headers: settings.headers,
  };
}

function fromRow(
  config: Config,
  settings: ConnectionSettings,
): ApiConnection | { readonly error: string } {
  const headers = readHeaders(config.additionalHeaders);
  if (headers === null) {
    return {
      error: `additional_headers of configuration ${config.id} is not a map of strings: write it like {"X-Name": "value"}`,
    };
  }
  if (config.baseUrl === null)
    return { error: `Configuration ${config.id} has no base_url: fill it in` };
  const baseUrl = config.baseUrl.replace(/\/+$/, "");
  const rowsPath = readPath(config.path);
  if (rowsPath === null) {
    return {
      error: `url of configuration ${config.id} is not a path: write it like ${CREATE_PATH}, the rest belongs to base_url`,
    };
  }
  const createMethod = readMethod(config.method);
  if (createMethod === null) {
    return {
      error: `method of configuration ${config.id} is none to create a customer with: leave it empty, or write ${CREATE_METHODS.join(", ")}`,
    };
  }
  const createPath = settings.createPath ?? rowsPath;
  const hasCredentials = (config.clientId ?? "") !== "";
  const ours = environmentFor(baseUrl, settings);
  return checked(
    {
      configId: config.id,
      baseUrl,
      createMethod,
      createPath,
      updateMethod: settings.updateMethod,
      updatePath: settings.updatePath ?? `${createPath}/{id}`,
      lookupPath: settings.lookupPath,
      auth: hasCredentials
        ? {
            kind: "client_credentials",
            tokenUrl: tokenUrlFor(config.tokenUrl, ours, baseUrl),
            clientId: config.clientId ?? "",
            clientSecret: config.clientSecret ?? "",
            scope: config.defaultScope,
            style: settings.tokenStyle,
            defaultExpiresInSeconds: lifetimeOf(config),
          }
        : withTokenUrl(
            ours.auth,
            tokenUrlFor(mayLearnOurSecret(config.tokenUrl, settings), ours, baseUrl),
          ),
      headers: { ...headers, ...ours.headers },
    },
    settings,
  );
}

type Credentials = Pick<ConnectionSettings, "auth" | "headers">;

/** What of the environment's credentials may go to this base URL. */
function environmentFor(baseUrl: string, settings: ConnectionSettings): Credentials {
  return belongsToUs(baseUrl, settings) ? settings : { auth: { kind: "none" }, headers: {} };
}

/** The row's token URL, unless it would carry the environment's client secret away from CUSTOMER_API_URL. */
function mayLearnOurSecret(tokenUrl: string | null, settings: ConnectionSettings): string | null {
  return tokenUrl !== null && belongsToUs(tokenUrl, settings) ? tokenUrl : null;
}

function belongsToUs(url: string, settings: ConnectionSettings): boolean {
  if (settings.url === null) return true;
  const origin = URL.parse(settings.url)?.origin;
  return origin !== undefined && URL.parse(url)?.origin === origin;
}

/** The row's, else the environment's, else the usual place. Both leave it empty to say nothing. */
function tokenUrlFor(rowsUrl: string | null, { auth }: Pick<Credentials, "auth">, baseUrl: string) {
  const environments = auth.kind === "client_credentials" ? auth.tokenUrl : "";
  return rowsUrl || environments || `${baseUrl}/oauth/token`;
}

function withTokenUrl(auth: ApiAuth, tokenUrl: string): ApiAuth {
  return auth.kind === "client_credentials" ? { ...auth, tokenUrl } : auth;
}

function readHeaders(text: string | null): Record<string, string> | null {
  if (text === null || text.trim() === "") return {};
  try {
    const parsed = z.record(z.string(), z.string()).safeParse(JSON.parse(text) ?? {});
    return parsed.success ? parsed.data : null;
  } catch {
    // A database where the column is text.
    return null;
  }
}

/**
 * The row's path below its base URL, `/` before it and none behind. null for a whole URL: put behind the base URL it would name another
 * host, as would a path that is put there without its `/` ("https://api.example" and "@elsewhere.example"), past every check of origins.
 */
function readPath(text: string | null): string | null {
  const path = (text ?? "").trim().replace(/\/+$/, "");
  if (path === "") return CREATE_PATH;
  if (/^[a-z][a-z0-9+.-]*:/i.test(path) || /\s/.test(path)) return null;
  return path.startsWith("/") ? path : `/${path}`;
}

const CREATE_METHODS = ["POST", "PUT", "PATCH"] as const;

/** It goes with the row's url, so it is that of the create; updates are CUSTOMER_API_UPDATE_METHOD's. */
function readMethod(text: string | null): (typeof CREATE_METHODS)[number] | null {
  const method = (text ?? "").trim().toUpperCase();
  return CREATE_METHODS.find((each) => each === (method || "POST")) ?? null;
}

function lifetimeOf({ tokenExpiresIn }: Config): number {
  // 0 would ask for a token before every request.
  return tokenExpiresIn !== null && tokenExpiresIn > 0 ? tokenExpiresIn : 3600;
}

function checked(
  connection: ApiConnection,
  settings: ConnectionSettings,
): ApiConnection | { readonly error: string } {
  const urls = [connection.baseUrl];
  if (connection.auth.kind === "client_credentials") urls.push(connection.auth.tokenUrl);
  const whose =
    connection.configId === null ? "CUSTOMER_API_URL" : `Configuration ${connection.configId}`;

  const [why] = urls.map((url) => whyNotAllowed(url, settings)).filter((reason) => reason !== null);
  return why === undefined ? connection : { error: `${whose} ${why}` };
}
