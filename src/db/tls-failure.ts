/**
 * Encryption that did not come about: which of both sides wanted what, and which setting helps. The codes are those of OpenSSL and
 * Node; a server that demands TLS, and one that has none, are known by their words only.
 */
import type { ConnectionUrl } from "./connection-url.ts";

export interface Explanation {
  readonly message: string;
  readonly hint: string;
}

/** What Node and OpenSSL call a certificate they do not take, or a handshake that failed. */
export function isTlsFailure(code: string): boolean {
  return /^(?:CERT_|CRL_|UNABLE_TO_|ERROR_IN_C|SELF_SIGNED_CERT|DEPTH_ZERO_|INVALID_CA|INVALID_PURPOSE|PATH_LENGTH_|HOSTNAME_MISMATCH|ERR_(?:TLS|SSL|OSSL)_|EPROTO$)/.test(
    code,
  );
}

/** Null: it has nothing to do with encryption. */
export function explainTls(
  { code, said }: { readonly code: string | null; readonly said: string },
  connection: ConnectionUrl,
): Explanation | null {
  const { place, sslmode } = connection;
  const isEncrypted = sslmode !== null && sslmode !== "disable";

  if (!isEncrypted && DEMANDS_TLS.test(said)) {
    return {
      message: `PostgreSQL at ${place} refused a session that is not encrypted: ${ended(said)}`,
      hint: `${ADD_MODE} If it is refused then too, pg_hba.conf has no line for this host, user and database.`,
    };
  }
  if (/requires a valid client certificate/.test(said)) {
    return {
      message: `PostgreSQL at ${place} wants a client certificate: ${ended(said)}`,
      hint: "Add sslcert and sslkey, the files with the certificate and its key, to DATABASE_URL.",
    };
  }
  if (said === "The server does not support SSL connections") {
    return {
      message: `PostgreSQL at ${place} does not offer TLS, and sslmode=${sslmode} demands it.`,
      hint: "Turn ssl on at the server, or at the pooler that answers there. Where nothing can listen on the way to it, say sslmode=disable in DATABASE_URL.",
    };
  }
  if (said === "There was an error establishing an SSL connection") {
    return {
      message: `What answers at ${place} did not say whether it offers TLS, as PostgreSQL does.`,
      hint: "Check host and port in DATABASE_URL. A server that is starting, or has no connection left, answers like this too.",
    };
  }
  if (/disconnected before secure TLS connection was established/.test(said)) {
    return {
      message: `What answers at ${place} ended the connection before it was encrypted.`,
      hint: "Check host and port in DATABASE_URL; with sslnegotiation=direct, that the server is PostgreSQL 17 or newer.",
    };
  }
  return code !== null && isTlsFailure(code) ? explainCode(code, said, connection) : null;
}

/** pg_hba.conf of PostgreSQL 14 and newer, and before; pgbouncer and Azure; Neon. */
const DEMANDS_TLS =
  /, no encryption\b|, SSL off\b|\bSSL (?:connection )?(?:is )?required\b|connection is insecure/i;

const ADD_MODE =
  "The server may demand TLS: add sslmode=verify-full to DATABASE_URL, and sslrootcert=<file> where its certificate is of a provider's or a private authority.";

function explainCode(code: string, said: string, { place, client }: ConnectionUrl): Explanation {
  const hasRootCert = typeof client.ssl === "object" && client.ssl.ca !== undefined;
  const untrusted = `The certificate of PostgreSQL at ${place} is not trusted: ${code}.`;

  switch (code) {
    case "SELF_SIGNED_CERT_IN_CHAIN":
    case "UNABLE_TO_GET_ISSUER_CERT":
    case "UNABLE_TO_GET_ISSUER_CERT_LOCALLY":
    case "UNABLE_TO_VERIFY_LEAF_SIGNATURE":
    case "CERT_SIGNATURE_FAILURE":
    case "CERT_UNTRUSTED":
    case "INVALID_CA":
      return {
        message: untrusted,
        hint: hasRootCert
          ? "The file of sslrootcert does not hold the authority that issued it: get the current CA file of the server or its provider."
          : "Its authority is none that Node knows, as with most providers: get the CA file of the server or its provider, and add sslrootcert=<file> to DATABASE_URL.",
      };
    case "DEPTH_ZERO_SELF_SIGNED_CERT":
      return {
        message: untrusted,
        hint: hasRootCert
          ? "The server issued its certificate itself, and it is not the one in the file of sslrootcert: copy the server's present certificate there."
          : "The server issued its certificate itself: copy that certificate into a file, and add sslrootcert=<file> to DATABASE_URL.",
      };
    case "CERT_HAS_EXPIRED":
    case "CERT_NOT_YET_VALID":
      return {
        message: untrusted,
        hint:
          code === "CERT_HAS_EXPIRED"
            ? "Renew the certificate of the server, or of its authority, and check this machine's clock."
            : "Check this machine's clock, and from when on the server's certificate is valid.",
      };
    case "ERR_TLS_CERT_ALTNAME_INVALID":
      return {
        message: `The certificate of PostgreSQL at ${place} is for another name: ${ended(said)}`,
        hint: "Let DATABASE_URL name the host as the certificate does. Where the certificate has no such name, as with Cloud SQL, use sslmode=verify-ca with sslrootcert.",
      };
    default:
      return explainHandshake(code, place);
  }
}

function explainHandshake(code: string, place: string): Explanation {
  return {
    message: `Encryption with PostgreSQL at ${place} did not come about: ${code}.`,
    hint: /ALERT.*(?:CERT|UNKNOWN_CA|ACCESS_DENIED)/.test(code)
      ? "The server did not take the client certificate, or wants one: check sslcert and sslkey in DATABASE_URL."
      : /VERSION|PROTOCOL/.test(code)
        ? "Both sides must know the same version of TLS: see ssl_min_protocol_version, in DATABASE_URL and at the server."
        : `The server's log may say why; so does: openssl s_client -starttls postgres -connect ${place.replace(/\/.*$/, "")}`,
  };
}

/** Some messages come with their full stop, some without. */
function ended(said: string): string {
  return `${said.trim().replace(/\.$/, "")}.`;
}
