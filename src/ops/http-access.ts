/**
 * Who may use the console. A caller needs the token; where there is none, the server has to be one that only this machine can reach, and the
 * request one that no foreign web page can have made.
 */
import { createHash, timingSafeEqual } from "node:crypto";
import type { FastifyRequest } from "fastify";
import { isLoopback } from "../loopback.ts";
import { forbidden, type HttpProblem, notJson } from "./http-problem.ts";

/** Who may use the console: callers with the token, callers on this machine, or no caller. */
export type Access =
  | { readonly kind: "token"; readonly digest: Buffer }
  | { readonly kind: "loopback" }
  | { readonly kind: "closed" };

export function toAccess(host: string, token: string | null): Access {
  if (token !== null && token !== "") return { kind: "token", digest: toDigest(token) };
  return { kind: isLoopback(host) ? "loopback" : "closed" };
}

/** Why the request is refused; null when it is not. */
export function findAccessRefusal(request: FastifyRequest, access: Access): AccessRefusal | null {
  return refuseCaller(request, access) ?? refuseForeignPage(request);
}

export interface AccessRefusal extends HttpProblem {
  readonly challenge?: readonly string[];
}

function refuseCaller(request: FastifyRequest, access: Access): AccessRefusal | null {
  switch (access.kind) {
    case "closed":
      return forbidden(
        "The console is closed: set HTTP_TOKEN and send it as a bearer token, or bind HTTP_HOST to a loopback address.",
      );

    case "loopback":
      // A web page may let its own name point to 127.0.0.1 (DNS rebinding). It cannot change the Host that the browser sends then.
      if (isLoopback(toHostname(request.headers.host))) return null;
      return forbidden(
        "Without HTTP_TOKEN the console answers only to localhost or a loopback address as the host name.",
      );

    case "token": {
      const given = toGivenToken(request.headers.authorization);
      // Digests have one length, so the time this takes depends on neither the token's length nor its first letters.
      if (given !== null && timingSafeEqual(toDigest(given), access.digest)) return null;
      return {
        status: 401,
        title: "Unauthorized",
        detail:
          "Send the value of HTTP_TOKEN as a bearer token, or in a browser as the password with any user name.",
        challenge: ['Bearer realm="account-sync"', 'Basic realm="account-sync", charset="UTF-8"'],
      };
    }

    default:
      access satisfies never;
      return null;
  }
}

/**
 * A form or fetch of any other page is sent with the credentials that the browser remembers, or reaches a loopback address. But browsers
 * send its origin along, and ask before they send JSON across origins, which is never allowed.
 */
function refuseForeignPage({ method, headers }: FastifyRequest): AccessRefusal | null {
  if (method === "GET" || method === "HEAD") return null;

  const { origin, host } = headers;
  const site = headers["sec-fetch-site"];
  const fromElsewhere = site !== undefined && site !== "same-origin" && site !== "none";

  if (fromElsewhere || (origin !== undefined && toOriginHost(origin) !== host)) {
    return forbidden("Requests from pages of another origin are refused.");
  }

  const hasBody = headers["transfer-encoding"] !== undefined || Number(headers["content-length"]);
  if (hasBody && !/^application\/json\s*(;|$)/i.test(headers["content-type"] ?? "")) {
    return notJson();
  }
  return null;
}

function toGivenToken(authorization: string | undefined): string | null {
  const [, scheme = "", value = ""] = /^(\w+) +(\S+)$/.exec(authorization ?? "") ?? [];

  switch (scheme.toLowerCase()) {
    case "bearer":
      return value;
    case "basic": {
      const pair = Buffer.from(value, "base64").toString();
      return pair.includes(":") ? pair.slice(pair.indexOf(":") + 1) : null;
    }
    default:
      return null;
  }
}

function toDigest(token: string): Buffer {
  return createHash("sha256").update(token).digest();
}

function toHostname(host: string | undefined): string {
  const url = `http://${host ?? ""}`;
  return URL.canParse(url) ? new URL(url).hostname : "";
}

function toOriginHost(origin: string): string | null {
  return URL.canParse(origin) ? new URL(origin).host : null;
}
