/**
 * Explains why a TLS connection could not be established, and which setting helps. The codes are those of OpenSSL and Node. A server
 * that requires TLS, and one that does not offer it, can be recognized by the text of the error only.
 */
import type { Diagnosis } from "../operator-error.ts";
import type { ConnectionUrl, UrlSetting } from "./connection-url.ts";

/** What came back from the server, or from the way to it. */
export interface ConnectionFailure {
  readonly code: string | null;
  readonly said: string;
  readonly connection: ConnectionUrl;
  /** Where the URL stands. */
  readonly setting: UrlSetting;
}

/** Null where the error is not about encryption. */
export function explainTls(failure: ConnectionFailure): Diagnosis | null {
  const { code, said } = failure;
  const byText = BY_TEXT.find(
    ([text, , onlyInClear = false]) =>
      text.test(said) && !(onlyInClear && isEncrypted(failure.connection)),
  );
  if (byText !== undefined) return byText[1](failure);
  if (code === null || !isTlsFailure(code)) return null;
  return (BY_CODE.get(code) ?? explainHandshake)(failure);
}

/** Whether it is a code of Node or OpenSSL for a certificate that is not accepted, or for a handshake that failed. */
export function isTlsFailure(code: string): boolean {
  return /^(?:CERT_|CRL_|UNABLE_TO_|ERROR_IN_C|SELF_SIGNED_CERT|DEPTH_ZERO_|INVALID_CA|INVALID_PURPOSE|PATH_LENGTH_|HOSTNAME_MISMATCH|ERR_(?:TLS|SSL|OSSL)_|EPROTO$)/.test(
    code,
  );
}

type ExplainTls = (failure: ConnectionFailure) => Diagnosis;

function isEncrypted({ sslmode }: ConnectionUrl): boolean {
  return sslmode !== null && sslmode !== "disable";
}

/** [what the text is recognized by, the diagnosis, whether only where the session was in clear text] */
const BY_TEXT: readonly (readonly [text: RegExp, ExplainTls, onlyInClear?: boolean])[] = [
  [
    // pg_hba.conf of PostgreSQL 14 and newer, and before; pgbouncer and Azure; Neon.
    /, no encryption\b|, SSL off\b|\bSSL (?:connection )?(?:is )?required\b|connection is insecure/i,
    ({ said, connection: { place }, setting }) => ({
      problem: `PostgreSQL at ${place} refused a session that is not encrypted: ${ended(said)}`,
      remedy: `The server may require TLS: add sslmode=verify-full to ${setting}, and sslrootcert=<file> where its certificate is issued by a provider or a private authority. If that is refused too, pg_hba.conf has no line for this host, user and database.`,
    }),
    true,
  ],
  [
    /requires a valid client certificate/,
    ({ said, connection: { place }, setting }) => ({
      problem: `PostgreSQL at ${place} requires a client certificate: ${ended(said)}`,
      remedy: `Add sslcert and sslkey, the files with the certificate and its key, to ${setting}.`,
    }),
  ],
  [
    /^The server does not support SSL connections$/,
    ({ connection: { place, sslmode }, setting }) => ({
      problem: `PostgreSQL at ${place} does not offer TLS, which sslmode=${sslmode} needs.`,
      remedy: `Turn ssl on at the server, or at the pooler in front of it. If the network is trusted, use sslmode=disable in ${setting}.`,
    }),
  ],
  [
    /^There was an error establishing an SSL connection$/,
    ({ connection: { place }, setting }) => ({
      problem: `The server at ${place} did not answer whether it offers TLS, so it may not be PostgreSQL.`,
      remedy: `Check host and port in ${setting}. A server that is starting, or has no connection left, can also answer like this.`,
    }),
  ],
  [
    /disconnected before secure TLS connection was established/,
    ({ connection: { place }, setting }) => ({
      problem: `The server at ${place} closed the connection before it was encrypted.`,
      remedy: `Check host and port in ${setting}; with sslnegotiation=direct, check also that the server is PostgreSQL 17 or newer.`,
    }),
  ],
];

const explainUnknownAuthority: ExplainTls = (failure) => ({
  problem: toUntrusted(failure),
  remedy: hasRootCert(failure)
    ? "The file of sslrootcert does not contain the authority that issued it: get the current CA file of the server or its provider."
    : `Node does not know its authority, as with most providers: get the CA file of the server or its provider, and add sslrootcert=<file> to ${failure.setting}.`,
});

const BY_CODE: ReadonlyMap<string, ExplainTls> = new Map<string, ExplainTls>([
  ["SELF_SIGNED_CERT_IN_CHAIN", explainUnknownAuthority],
  ["UNABLE_TO_GET_ISSUER_CERT", explainUnknownAuthority],
  ["UNABLE_TO_GET_ISSUER_CERT_LOCALLY", explainUnknownAuthority],
  ["UNABLE_TO_VERIFY_LEAF_SIGNATURE", explainUnknownAuthority],
  ["CERT_SIGNATURE_FAILURE", explainUnknownAuthority],
  ["CERT_UNTRUSTED", explainUnknownAuthority],
  ["INVALID_CA", explainUnknownAuthority],
  [
    "DEPTH_ZERO_SELF_SIGNED_CERT",
    (failure) => ({
      problem: toUntrusted(failure),
      remedy: hasRootCert(failure)
        ? "The server issued its certificate itself, and it is not the one in the file of sslrootcert: copy the server's current certificate there."
        : `The server issued its certificate itself: copy that certificate into a file, and add sslrootcert=<file> to ${failure.setting}.`,
    }),
  ],
  [
    "CERT_HAS_EXPIRED",
    (failure) => ({
      problem: toUntrusted(failure),
      remedy:
        "Renew the certificate of the server, or of its authority, and check this machine's clock.",
    }),
  ],
  [
    "CERT_NOT_YET_VALID",
    (failure) => ({
      problem: toUntrusted(failure),
      remedy:
        "Check this machine's clock, and the date from which the server's certificate is valid.",
    }),
  ],
  [
    "ERR_TLS_CERT_ALTNAME_INVALID",
    ({ said, connection: { place }, setting }) => ({
      problem: `The certificate of PostgreSQL at ${place} is for another name: ${ended(said)}`,
      remedy: `Use the host name of the certificate in ${setting}. Where the certificate has no such name, as with Cloud SQL, use sslmode=verify-ca with sslrootcert.`,
    }),
  ],
]);

function toUntrusted({ code, connection: { place } }: ConnectionFailure): string {
  return `The certificate of PostgreSQL at ${place} is not trusted: ${code}.`;
}

function hasRootCert({ connection: { client } }: ConnectionFailure): boolean {
  return typeof client.ssl === "object" && client.ssl.ca !== undefined;
}

function explainHandshake({ code, connection: { place }, setting }: ConnectionFailure): Diagnosis {
  return {
    problem: `Could not establish TLS with PostgreSQL at ${place}: ${code}.`,
    remedy: /ALERT.*(?:CERT|UNKNOWN_CA|ACCESS_DENIED)/.test(code ?? "")
      ? `The server did not accept the client certificate, or requires one: check sslcert and sslkey in ${setting}.`
      : /VERSION|PROTOCOL/.test(code ?? "")
        ? `Client and server must support the same version of TLS: see ssl_min_protocol_version, in ${setting} and at the server.`
        : `The server's log may contain the reason, and so may the output of: openssl s_client -starttls postgres -connect ${place.replace(/\/.*$/, "")}`,
  };
}

/** Some messages end with a full stop, some do not. */
function ended(said: string): string {
  return `${said.trim().replace(/\.$/, "")}.`;
}
