/**
 * Explains why a TLS connection could not be established, and which setting helps. The codes are those of OpenSSL and Node. A server
 * that requires TLS, and one that does not offer it, can be recognized by the text of the error only.
 */
import type { Diagnosis } from "../operator-error.ts";
import type { ConnectionUrl, UrlSetting } from "./connection-url.ts";

/** Whether it is a code of Node or OpenSSL for a certificate that is not accepted, or for a handshake that failed. */
export function isTlsFailure(code: string): boolean {
  return /^(?:CERT_|CRL_|UNABLE_TO_|ERROR_IN_C|SELF_SIGNED_CERT|DEPTH_ZERO_|INVALID_CA|INVALID_PURPOSE|PATH_LENGTH_|HOSTNAME_MISMATCH|ERR_(?:TLS|SSL|OSSL)_|EPROTO$)/.test(
    code,
  );
}

/** Null where the error is not about encryption. `setting` is where the URL stands. */
export function explainTls(
  { code, said }: { readonly code: string | null; readonly said: string },
  connection: ConnectionUrl,
  setting: UrlSetting,
): Diagnosis | null {
  const { place, sslmode } = connection;
  const isEncrypted = sslmode !== null && sslmode !== "disable";

  if (!isEncrypted && DEMANDS_TLS.test(said)) {
    return {
      problem: `PostgreSQL at ${place} refused a session that is not encrypted: ${ended(said)}`,
      remedy: `The server may require TLS: add sslmode=verify-full to ${setting}, and sslrootcert=<file> where its certificate is issued by a provider or a private authority. If that is refused too, pg_hba.conf has no line for this host, user and database.`,
    };
  }
  if (/requires a valid client certificate/.test(said)) {
    return {
      problem: `PostgreSQL at ${place} requires a client certificate: ${ended(said)}`,
      remedy: `Add sslcert and sslkey, the files with the certificate and its key, to ${setting}.`,
    };
  }
  if (said === "The server does not support SSL connections") {
    return {
      problem: `PostgreSQL at ${place} does not offer TLS, which sslmode=${sslmode} needs.`,
      remedy: `Turn ssl on at the server, or at the pooler in front of it. If the network is trusted, use sslmode=disable in ${setting}.`,
    };
  }
  if (said === "There was an error establishing an SSL connection") {
    return {
      problem: `The server at ${place} did not answer whether it offers TLS, so it may not be PostgreSQL.`,
      remedy: `Check host and port in ${setting}. A server that is starting, or has no connection left, can also answer like this.`,
    };
  }
  if (/disconnected before secure TLS connection was established/.test(said)) {
    return {
      problem: `The server at ${place} closed the connection before it was encrypted.`,
      remedy: `Check host and port in ${setting}; with sslnegotiation=direct, check also that the server is PostgreSQL 17 or newer.`,
    };
  }
  return code !== null && isTlsFailure(code) ? explainCode(code, said, connection, setting) : null;
}

/** pg_hba.conf of PostgreSQL 14 and newer, and before; pgbouncer and Azure; Neon. */
const DEMANDS_TLS =
  /, no encryption\b|, SSL off\b|\bSSL (?:connection )?(?:is )?required\b|connection is insecure/i;

function explainCode(
  code: string,
  said: string,
  { place, client }: ConnectionUrl,
  setting: UrlSetting,
): Diagnosis {
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
        problem: untrusted,
        remedy: hasRootCert
          ? "The file of sslrootcert does not contain the authority that issued it: get the current CA file of the server or its provider."
          : `Node does not know its authority, as with most providers: get the CA file of the server or its provider, and add sslrootcert=<file> to ${setting}.`,
      };
    case "DEPTH_ZERO_SELF_SIGNED_CERT":
      return {
        problem: untrusted,
        remedy: hasRootCert
          ? "The server issued its certificate itself, and it is not the one in the file of sslrootcert: copy the server's current certificate there."
          : `The server issued its certificate itself: copy that certificate into a file, and add sslrootcert=<file> to ${setting}.`,
      };
    case "CERT_HAS_EXPIRED":
    case "CERT_NOT_YET_VALID":
      return {
        problem: untrusted,
        remedy:
          code === "CERT_HAS_EXPIRED"
            ? "Renew the certificate of the server, or of its authority, and check this machine's clock."
            : "Check this machine's clock, and the date from which the server's certificate is valid.",
      };
    case "ERR_TLS_CERT_ALTNAME_INVALID":
      return {
        problem: `The certificate of PostgreSQL at ${place} is for another name: ${ended(said)}`,
        remedy: `Use the host name of the certificate in ${setting}. Where the certificate has no such name, as with Cloud SQL, use sslmode=verify-ca with sslrootcert.`,
      };
    default:
      return explainHandshake(code, place, setting);
  }
}

function explainHandshake(code: string, place: string, setting: UrlSetting): Diagnosis {
  return {
    problem: `Could not establish TLS with PostgreSQL at ${place}: ${code}.`,
    remedy: /ALERT.*(?:CERT|UNKNOWN_CA|ACCESS_DENIED)/.test(code)
      ? `The server did not accept the client certificate, or requires one: check sslcert and sslkey in ${setting}.`
      : /VERSION|PROTOCOL/.test(code)
        ? `Client and server must support the same version of TLS: see ssl_min_protocol_version, in ${setting} and at the server.`
        : `The server's log may contain the reason, and so may the output of: openssl s_client -starttls postgres -connect ${place.replace(/\/.*$/, "")}`,
  };
}

/** Some messages end with a full stop, some do not. */
function ended(said: string): string {
  return `${said.trim().replace(/\.$/, "")}.`;
}
