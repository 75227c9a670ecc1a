/**
 * Where to send: to the API that the environment names, or to one of a row of `m_backend_ext_config`. The rows are read again every few
 * seconds, so an edit is picked up without a restart; a token belongs to the values of its connection and goes with them.
 */
import type { Obstacle } from "../obstacle.ts";
import { requireAllowed } from "./allowed-url.ts";
import { type ConfigRow, parseConfigRow, toRowConnection } from "./config-row.ts";
import type { ApiConnection, UnusableConnection } from "./customer-api.ts";
import { createDefaultConnection } from "./default-connection.ts";
import { type ConnectionSettings, toEnvironmentConnection } from "./environment-connection.ts";

export interface Connections {
  /** The connection of this configuration; null for the default one. */
  of(configId: string | null): Promise<ApiConnection | UnusableConnection>;
  /** What there is to choose from, read anew: the environment's first, then the rows, newest first. Never a secret. */
  list(): Promise<ListedConnection[]>;
  /** Milliseconds until it makes sense to claim, 0 for now: more while the default connection cannot be used. */
  available(): number;
  /** How many claims make sense now: 1, to try, while the default connection cannot be used; Infinity otherwise. */
  usefulSends(): number;
  /** The default connection cannot be used; null when it can, or was not tried lately. */
  findObstacle(): Obstacle | null;
  /** The last default connection that could be used; null when none could. */
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

const REREAD_EVERY_MS = 5_000;

/**
 * @param readRows the rows of `m_backend_ext_config`, newest first; null where the database has no such table
 * @param onUsable called once when the default connection cannot be used any more, with the reason, and once when it can again, with null
 */
export function createConnections(
  readRows: (() => Promise<readonly unknown[]>) | null,
  settings: ConnectionSettings,
  onUsable: (error: string | null) => void = () => {},
): Connections {
  const byDefault = createDefaultConnection(REREAD_EVERY_MS, onUsable);
  let kept: { readonly at: number; readonly rows: Promise<ConfigRow[]> } | null = null;
  // Each account asks, and what is worked out of a connection is kept with it.
  const ofRow = new WeakMap<ConfigRow, ApiConnection | UnusableConnection>();
  let ofEnvironment: ApiConnection | UnusableConnection | null = null;

  async function readAll(): Promise<ConfigRow[]> {
    return readRows === null ? [] : (await readRows()).map(parseConfigRow);
  }

  function readLately(): Promise<ConfigRow[]> {
    if (kept !== null && performance.now() - kept.at < REREAD_EVERY_MS) return kept.rows;
    const rows = readAll();
    // A failed read is not kept.
    rows.catch(() => {
      kept = null;
    });
    kept = { at: performance.now(), rows };
    return rows;
  }

  async function find(configId: string | null): Promise<ApiConnection | UnusableConnection> {
    if (configId === null && settings.url !== null) return fromEnvironment(settings.url);
    if (readRows === null) return { error: NO_TABLE };

    const row = chooseRow(await readLately(), configId);
    if (row !== null) return fromRow(row);
    return {
      error:
        configId === null
          ? NO_ROW_FOR_CUSTOMERS
          : `m_backend_ext_config has no active row with id ${configId}`,
    };
  }

  function fromEnvironment(url: string): ApiConnection | UnusableConnection {
    ofEnvironment ??= requireAllowed(toEnvironmentConnection(settings, url), settings);
    return ofEnvironment;
  }

  function fromRow(row: ConfigRow): ApiConnection | UnusableConnection {
    const known = ofRow.get(row);
    if (known !== undefined) return known;
    const read = toRowConnection(row, settings);
    const connection = "error" in read ? read : requireAllowed(read, settings);
    ofRow.set(row, connection);
    return connection;
  }

  return {
    async of(requestedId) {
      const found = await find(requestedId ?? settings.configId);
      // Accounts ask for the configuration that they belong to, which mostly is the default one: where that can be used again, so can
      // the default. Where it cannot, they ask for the default next.
      const isDefaultAgain = !("error" in found) && requestedId === byDefault.last()?.configId;
      if (requestedId === null || isDefaultAgain) byDefault.note(found);
      return found;
    },

    async list() {
      const rows = await readAll();
      const isEnvironments = settings.url !== null && settings.configId === null;
      const chosen = isEnvironments ? null : chooseRow(rows, settings.configId);
      const listed = rows.map((row) => ({
        id: row.id,
        name: row.name,
        isActive: row.isActive,
        isDefault: row === chosen,
        ...toListed(row.baseUrl, row.isActive ? fromRow(row) : { error: "It is not active" }),
      }));
      if (settings.url === null) return listed;

      const environments = {
        id: null,
        name: "CUSTOMER_API_URL",
        isActive: true,
        isDefault: isEnvironments,
        ...toListed(settings.url, fromEnvironment(settings.url)),
      };
      return [environments, ...listed];
    },

    available: byDefault.available,
    usefulSends: byDefault.usefulSends,
    findObstacle: byDefault.findObstacle,
    lastDefault: byDefault.last,

    async defaultBaseUrl() {
      // Asked for by reports on the queue, which must not fail because a row cannot be read.
      const found = await find(settings.configId).catch(() => null);
      return found === null || "error" in found ? null : found.baseUrl;
    },
  };
}

const NO_TABLE = "There is no table m_backend_ext_config in this database: set CUSTOMER_API_URL";

const NO_ROW_FOR_CUSTOMERS =
  'No active row of m_backend_ext_config has a name with "customer" or a url with /customer/command: add one, or set CUSTOMER_API_URL';

/** By its id, or else the first one that is for customers. */
function chooseRow(rows: readonly ConfigRow[], configId: string | null): ConfigRow | null {
  const active = rows.filter((row) => row.isActive);
  if (configId === null) return active.find(isForCustomers) ?? null;

  // PostgreSQL writes uuids in lower case; settings and requests may not.
  const lowerCased = configId.toLowerCase();
  return (
    active.find(({ id }) => id === configId) ??
    active.find(({ id }) => id.toLowerCase() === lowerCased) ??
    null
  );
}

function isForCustomers({ name, path }: ConfigRow): boolean {
  return (
    (name ?? "").toLowerCase().includes("customer") || (path ?? "").includes("/customer/command")
  );
}

/** Without user, password and query, which may hold secrets. */
function toListed(
  baseUrl: string | null,
  connection: ApiConnection | UnusableConnection,
): Pick<ListedConnection, "baseUrl" | "isUsable" | "reason"> {
  const url = baseUrl === null ? null : URL.parse(baseUrl);
  const isWeb = url !== null && /^https?:$/.test(url.protocol);
  return {
    baseUrl: isWeb ? `${url.origin}${url.pathname.replace(/\/+$/, "")}` : null,
    isUsable: !("error" in connection),
    reason: "error" in connection ? connection.error : null,
  };
}
