/** What the server says becomes one sentence and what to do; what nobody foresaw stays as it is. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { isOutage } from "../../src/db/error-code.ts";
import { explained } from "../../src/db/explained.ts";
import { OperatorError } from "../../src/operator-error.ts";
import { createAuthority } from "../support/certificates.ts";

const folder = mkdtempSync(join(tmpdir(), "account-sync-test-explained-"));
const CA = join(folder, "ca.pem");
writeFileSync(CA, createAuthority("An authority").certificate);

afterAll(() => rmSync(folder, { recursive: true }));

const URL = "postgres://somebody:secret@db.example.com:5432/crm";

test.each([
  [
    "ECONNREFUSED",
    /^Could not connect to PostgreSQL at db\.example\.com:5432\/crm: ECONNREFUSED\.$/,
  ],
  ["57P01", /^PostgreSQL at db\.example\.com:5432\/crm is not available: 57P01\.$/],
  ["57P03", /is not available: 57P03/],
  ["53300", /is not available: 53300/],
  ["25006", /is read-only/],
])("%s", (code, message) => {
  const error = explained(Object.assign(new Error("said by the server"), { code }), URL);

  expect(error).toBeInstanceOf(OperatorError);
  expect((error as OperatorError).message).toMatch(message);
  expect((error as OperatorError).message).not.toContain("secret");
});

const CLEAR = "postgres://u:secret@db.example.com/crm";
const VERIFIED = `${CLEAR}?sslmode=verify-full`;
const PINNED = `${VERIFIED}&sslrootcert=${CA}`;

/** [what was said, with which code, on which URL, the sentence, what to do] */
test.each<[said: string, code: string | null, url: string, message: RegExp, hint: RegExp]>([
  [
    'no pg_hba.conf entry for host "10.0.0.1", user "u", database "crm", no encryption',
    "28000",
    CLEAR,
    /^PostgreSQL at db\.example\.com:5432\/crm refused a session that is not encrypted: no pg_hba/,
    /add sslmode=verify-full/,
  ],
  [
    'no pg_hba.conf entry for host "10.0.0.1", user "u", database "crm", SSL off',
    "28000",
    `${CLEAR}?sslmode=disable`,
    /refused a session that is not encrypted/,
    /add sslmode=verify-full/,
  ],
  ["SSL required", "08P01", CLEAR, /not encrypted: SSL required\.$/, /add sslmode=verify-full/],
  [
    "SSL connection is required. Please specify SSL options and retry.",
    "28000",
    CLEAR,
    /not encrypted: SSL connection is required/,
    /add sslmode=verify-full/,
  ],
  [
    'no pg_hba.conf entry for host "10.0.0.1", user "u", database "crm", SSL encryption',
    "28000",
    VERIFIED,
    /refused the login/,
    /Check user and password/,
  ],
  [
    "connection requires a valid client certificate",
    "28000",
    VERIFIED,
    /requires a client certificate/,
    /Add sslcert and sslkey/,
  ],
  [
    "The server does not support SSL connections",
    null,
    VERIFIED,
    /^PostgreSQL at db\.example\.com:5432\/crm does not offer TLS, which sslmode=verify-full needs\.$/,
    /use sslmode=disable/,
  ],
  [
    "There was an error establishing an SSL connection",
    null,
    VERIFIED,
    /did not answer whether it offers TLS/,
    /host and port/,
  ],
  [
    "Client network socket disconnected before secure TLS connection was established",
    "ECONNRESET",
    VERIFIED,
    /before it was encrypted/,
    /sslnegotiation=direct/,
  ],
  ...[
    "SELF_SIGNED_CERT_IN_CHAIN",
    "UNABLE_TO_GET_ISSUER_CERT",
    "UNABLE_TO_GET_ISSUER_CERT_LOCALLY",
    "UNABLE_TO_VERIFY_LEAF_SIGNATURE",
  ].flatMap((code): [string, string, string, RegExp, RegExp][] => [
    ["x", code, VERIFIED, RegExp(`is not trusted: ${code}\\.$`), /add sslrootcert=<file>/],
    ["x", code, PINNED, /is not trusted/, /sslrootcert does not contain the authority/],
  ]),
  [
    "self-signed certificate",
    "DEPTH_ZERO_SELF_SIGNED_CERT",
    VERIFIED,
    /is not trusted/,
    /copy that certificate into a file/,
  ],
  [
    "self-signed certificate",
    "DEPTH_ZERO_SELF_SIGNED_CERT",
    PINNED,
    /is not trusted/,
    /copy the server's current certificate/,
  ],
  ["expired", "CERT_HAS_EXPIRED", VERIFIED, /is not trusted/, /Renew the certificate/],
  ["not yet", "CERT_NOT_YET_VALID", VERIFIED, /is not trusted/, /machine's clock/],
  [
    "revoked",
    "CERT_REVOKED",
    VERIFIED,
    /Could not establish TLS .*: CERT_REVOKED/,
    /openssl s_client/,
  ],
  [
    "Hostname/IP does not match certificate's altnames: Host: db. is not in the cert's altnames: DNS:x",
    "ERR_TLS_CERT_ALTNAME_INVALID",
    VERIFIED,
    /is for another name: .* DNS:x\.$/,
    /use sslmode=verify-ca/,
  ],
  [
    "alert",
    "ERR_SSL_TLSV1_ALERT_UNKNOWN_CA",
    VERIFIED,
    /Could not establish TLS .*: ERR_SSL_TLSV1_ALERT_UNKNOWN_CA/,
    /check sslcert and sslkey/,
  ],
  [
    "alert",
    "ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION",
    VERIFIED,
    /Could not establish TLS/,
    /ssl_min_protocol_version/,
  ],
  [
    "wrong version number",
    "EPROTO",
    VERIFIED,
    /Could not establish TLS .*: EPROTO/,
    /server's log/,
  ],
  [
    "Feature not supported: RDS Proxy currently doesn't support command-line options.",
    "0A000",
    CLEAR,
    /does not take the settings of a session: .* command-line options\.$/,
    /set LISTEN_DATABASE_URL to a direct connection to the same database\.$/,
  ],
  [
    "unsupported startup parameter: options",
    "08P01",
    `${CLEAR}?options=-c%20geqo%3Doff`,
    /does not take the settings of a session/,
    /, and leave options= out of DATABASE_URL\.$/,
  ],
  ["password authentication failed", "28P01", CLEAR, /refused the login/, /user and password/],
])("%s (%s)", (said, code, url, message, hint) => {
  const error = explained(Object.assign(new Error(said), code === null ? {} : { code }), url);

  expect(error).toBeInstanceOf(OperatorError);
  expect((error as OperatorError).message).toMatch(message);
  expect((error as OperatorError).hint).toMatch(hint);
  expect(JSON.stringify(error) + (error as OperatorError).message).not.toContain("secret");

  // A URL of the other setting: every word about it names that one.
  const direct = explained(
    Object.assign(new Error(said), code === null ? {} : { code }),
    url,
    "LISTEN_DATABASE_URL",
  );
  expect((direct as OperatorError).hint).not.toMatch(/(?<!LISTEN_)DATABASE_URL/);
});

test("a statement that is not supported is a bug, not a proxy's refusal", () => {
  const bug = Object.assign(new Error("cannot insert into view"), { code: "0A000" });

  expect(explained(bug, CLEAR)).toBe(bug);
});

test("a certificate that is not taken is an outage: no account is to blame", () => {
  const toError = (code: string) => Object.assign(new Error("x"), { code });

  expect(isOutage(toError("CERT_HAS_EXPIRED"))).toBe(true);
  expect(isOutage(toError("ERR_TLS_CERT_ALTNAME_INVALID"))).toBe(true);
  expect(isOutage(new Error("The server does not support SSL connections"))).toBe(true);
});

test("a bug is not explained away", () => {
  const bug = new TypeError("x is not a function");

  expect(explained(bug, URL)).toBe(bug);
});
