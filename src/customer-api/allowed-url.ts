/** Where customers' data and credentials may be sent: to allowed origins only, and encrypted unless to this machine. Pure. */
import { isLoopback } from "../loopback.ts";
import type { ApiConnection, UnusableConnection } from "./customer-api.ts";

export interface UrlRules {
  /** Whether http to other machines is allowed. */
  readonly insecure: boolean;
  /** null: any. */
  readonly allowedOrigins: readonly string[] | null;
}

/** The connection, if all its URLs are allowed. */
export function requireAllowed(
  connection: ApiConnection,
  rules: UrlRules,
): ApiConnection | UnusableConnection {
  const { configId, baseUrl, auth } = connection;
  const urls = auth.kind === "client_credentials" ? [baseUrl, auth.tokenUrl] : [baseUrl];
  const why = urls.map((url) => whyNotAllowed(url, rules)).find((reason) => reason !== null);
  if (why === undefined) return connection;

  return {
    error: `${configId === null ? "CUSTOMER_API_URL" : `Configuration ${configId}`} ${why}`,
  };
}

/** What is wrong, to follow the name of the setting or the row; null when nothing is. */
export function whyNotAllowed(text: string, { insecure, allowedOrigins }: UrlRules): string | null {
  const url = URL.parse(text);
  if (url === null) return "has an invalid URL: expected something like https://api.example.com";
  if (url.protocol !== "https:" && url.protocol !== "http:")
    return `has a URL with ${url.protocol}//: only https, and http to this machine, can be used`;
  if (url.protocol === "http:" && !isLoopback(url.hostname) && !insecure)
    return `points to ${url.origin} over http: use https, or set CUSTOMER_API_INSECURE=true if the network on the way is trusted`;
  if (allowedOrigins !== null && !allowedOrigins.includes(url.origin))
    return `points to ${url.origin}, which CUSTOMER_API_ALLOWED_ORIGINS does not list`;
  return null;
}
