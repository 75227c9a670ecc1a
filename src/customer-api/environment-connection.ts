/**
 * The connection that the environment describes, and what of its credentials a row of `m_backend_ext_config` may use. Pure.
 *
 * The environment's credentials (token, client credentials, CUSTOMER_API_HEADERS) belong to the origin of CUSTOMER_API_URL. A row with
 * another origin gets none of them: otherwise write access to the table would be enough to have them sent anywhere. Without a
 * CUSTOMER_API_URL they can only be meant for the rows, and CUSTOMER_API_ALLOWED_ORIGINS bounds where those may point.
 */
import type { ApiAuth, ApiConnection } from "./customer-api.ts";

export interface ConnectionSettings {
  /** CUSTOMER_API_URL; null takes a row of the table. */
  readonly url: string | null;
  /** Id of the row to take; null takes the newest that is for customers. */
  readonly configId: string | null;
  readonly createPath: string | null;
  readonly updateMethod: ApiConnection["updateMethod"];
  readonly updatePath: string | null;
  readonly lookupPath: string | null;
  readonly auth: ApiAuth;
  readonly headers: Readonly<Record<string, string>>;
  readonly tokenStyle: "form" | "json";
  /** null: any. */
  readonly allowedOrigins: readonly string[] | null;
  /** Whether http to other machines is allowed. */
  readonly insecure: boolean;
}

/** Where customers are created unless a setting or the row says otherwise. */
export const CREATE_PATH = "/api/customer/command";

/** @param url CUSTOMER_API_URL */
export function toEnvironmentConnection(settings: ConnectionSettings, url: string): ApiConnection {
  const createPath = settings.createPath ?? CREATE_PATH;
  const baseUrl = withoutEndSlash(url);
  return {
    configId: null,
    baseUrl,
    createMethod: "POST",
    createPath,
    updateMethod: settings.updateMethod,
    updatePath: settings.updatePath ?? `${createPath}/{id}`,
    lookupPath: settings.lookupPath,
    auth: withTokenUrl(settings.auth, chooseTokenUrl(null, settings.auth, baseUrl)),
    headers: settings.headers,
  };
}

/** The environment's headers, for this base URL. */
export function headersFor(
  baseUrl: string,
  settings: ConnectionSettings,
): ConnectionSettings["headers"] {
  return hasEnvironmentOrigin(baseUrl, settings) ? settings.headers : {};
}

/** The environment's credentials, for this base URL and a row's token URL. */
export function authFor(
  baseUrl: string,
  rowTokenUrl: string | null,
  settings: ConnectionSettings,
): ApiAuth {
  if (!hasEnvironmentOrigin(baseUrl, settings)) return { kind: "none" };
  // At another origin, the row's token URL would get the environment's client secret.
  const allowed =
    rowTokenUrl !== null && hasEnvironmentOrigin(rowTokenUrl, settings) ? rowTokenUrl : null;
  return withTokenUrl(settings.auth, chooseTokenUrl(allowed, settings.auth, baseUrl));
}

/** Where a row's own client gets its token. */
export function tokenUrlFor(
  baseUrl: string,
  rowTokenUrl: string | null,
  settings: ConnectionSettings,
): string {
  const auth: ApiAuth = hasEnvironmentOrigin(baseUrl, settings) ? settings.auth : { kind: "none" };
  return chooseTokenUrl(rowTokenUrl, auth, baseUrl);
}

/** Whether the URL has the origin that the environment's credentials belong to. */
function hasEnvironmentOrigin(url: string, settings: ConnectionSettings): boolean {
  if (settings.url === null) return true;
  const origin = URL.parse(settings.url)?.origin;
  return origin !== undefined && URL.parse(url)?.origin === origin;
}

/** The row's, else the environment's, else the usual path. An empty text counts as none in both. */
function chooseTokenUrl(rowTokenUrl: string | null, auth: ApiAuth, baseUrl: string): string {
  const environments = auth.kind === "client_credentials" ? auth.tokenUrl : "";
  return rowTokenUrl || environments || `${baseUrl}/oauth/token`;
}

function withTokenUrl(auth: ApiAuth, tokenUrl: string): ApiAuth {
  return auth.kind === "client_credentials" ? { ...auth, tokenUrl } : auth;
}

export function withoutEndSlash(url: string): string {
  return url.replace(/\/+$/, "");
}
