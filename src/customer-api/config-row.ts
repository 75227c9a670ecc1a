/** A row of `m_backend_ext_config`: the connection it describes, or why it describes none. Pure. */
import { z } from "zod";
import type { ApiAuth, ApiConnection, UnusableConnection } from "./customer-api.ts";
import {
  authFor,
  type ConnectionSettings,
  CREATE_PATH,
  headersFor,
  tokenUrlFor,
  withoutEndSlash,
} from "./environment-connection.ts";
import { parseJson } from "./json.ts";

export type ConfigRow = z.infer<typeof configRowShape>;

const configRowShape = z.object({
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

/** @throws ZodError when the row does not have the columns' types */
export function parseConfigRow(row: unknown): ConfigRow {
  return configRowShape.parse(row);
}

/** Where its URLs point is not looked at here. */
export function toRowConnection(
  row: ConfigRow,
  settings: ConnectionSettings,
): ApiConnection | UnusableConnection {
  const headers = readHeaders(row.additionalHeaders);
  if (headers === null) {
    return {
      error: `additional_headers of configuration ${row.id} is not a map of strings: write it like {"X-Name": "value"}`,
    };
  }
  if (row.baseUrl === null) return { error: `Configuration ${row.id} has no base_url: fill it in` };
  const baseUrl = withoutEndSlash(row.baseUrl);
  const path = readPath(row.path);
  if (path === null) {
    return {
      error: `url of configuration ${row.id} is not a path: write it like ${CREATE_PATH}, the rest belongs to base_url`,
    };
  }
  const createMethod = readMethod(row.method);
  if (createMethod === null) {
    return {
      error: `method of configuration ${row.id} cannot create a customer: leave it empty, or write ${CREATE_METHODS.join(", ")}`,
    };
  }

  const createPath = settings.createPath ?? path;
  return {
    configId: row.id,
    baseUrl,
    createMethod,
    createPath,
    updateMethod: settings.updateMethod,
    updatePath: settings.updatePath ?? `${createPath}/{id}`,
    lookupPath: settings.lookupPath,
    auth: toAuth(row, baseUrl, settings),
    headers: { ...headers, ...headersFor(baseUrl, settings) },
  };
}

/** The row's own client, if it names one; otherwise the environment's credentials. */
function toAuth(row: ConfigRow, baseUrl: string, settings: ConnectionSettings): ApiAuth {
  if (row.clientId === null || row.clientId === "") {
    return authFor(baseUrl, row.tokenUrl, settings);
  }
  return {
    kind: "client_credentials",
    tokenUrl: tokenUrlFor(baseUrl, row.tokenUrl, settings),
    clientId: row.clientId,
    clientSecret: row.clientSecret ?? "",
    scope: row.defaultScope,
    style: settings.tokenStyle,
    defaultExpiresInSeconds: readLifetime(row.tokenExpiresIn),
  };
}

/** An hour where the row names none; 0 would ask for a token before every request. */
function readLifetime(seconds: number | null): number {
  return seconds !== null && seconds > 0 ? seconds : 3600;
}

/** null when it is no map of strings. Where the column is text, it may not even be JSON. */
function readHeaders(text: string | null): Record<string, string> | null {
  if (text === null || text.trim() === "") return {};
  const json = parseJson(text);
  return z.record(z.string(), z.string()).safeParse(json === null ? {} : json).data ?? null;
}

/**
 * The path below the base URL, with a `/` before it and none behind. null for a whole URL: put behind the base URL it would name another
 * host. So would a path without the `/` ("https://api.example" and "@elsewhere.example"), past every check of origins.
 */
function readPath(text: string | null): string | null {
  const path = withoutEndSlash((text ?? "").trim());
  if (path === "") return CREATE_PATH;
  if (/^[a-z][a-z0-9+.-]*:/i.test(path) || /\s/.test(path)) return null;
  return path.startsWith("/") ? path : `/${path}`;
}

const CREATE_METHODS = ["POST", "PUT", "PATCH"] as const;

/** The row's method goes with its url, so it is that of the create; updates have CUSTOMER_API_UPDATE_METHOD. */
function readMethod(text: string | null): (typeof CREATE_METHODS)[number] | null {
  const method = (text ?? "").trim().toUpperCase() || "POST";
  return CREATE_METHODS.find((each) => each === method) ?? null;
}
