/** Customers' data and credentials go only where they may, and not readable on the way. Pure. */
import { isLoopback } from "../loopback.ts";

export interface UrlRules {
  /** Whether http to other machines is allowed. */
  readonly insecure: boolean;
  /** null: any. */
  readonly allowedOrigins: readonly string[] | null;
}

/** What is wrong, to follow the name of the setting or the row; null when nothing is. */
export function whyNotAllowed(text: string, { insecure, allowedOrigins }: UrlRules): string | null {
  const url = URL.parse(text);
  if (url === null)
    return "has a URL that is none: expected something like https://api.example.com";
  if (url.protocol !== "https:" && url.protocol !== "http:")
    return `has a URL with ${url.protocol}//: only https (and http to this machine) is spoken here`;
  if (url.protocol === "http:" && !isLoopback(url.hostname) && !insecure)
    return `points to ${url.origin} over http: use https, or set CUSTOMER_API_INSECURE=true if the network on the way is trusted`;
  if (allowedOrigins !== null && !allowedOrigins.includes(url.origin))
    return `points to ${url.origin}, which CUSTOMER_API_ALLOWED_ORIGINS does not list`;
  return null;
}
