/**
 * `sslmode` and the parameters of libpq that go with it → the TLS settings of node-postgres. No mode falls back to clear text: where the
 * mode requires encryption, a session is encrypted, or there is no session.
 */
import { X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { type ConnectionOptions, createSecureContext, type SecureVersion } from "node:tls";

export type SslMode = "disable" | "require" | "verify-ca" | "verify-full";

export interface TlsOptions {
  /** null: the URL has no mode, and nothing is encrypted. */
  readonly mode: SslMode | null;
  readonly ssl: ConnectionOptions | false;
  /** The server needs a certificate of a trusted authority. */
  readonly isVerified: boolean;
  readonly problems: readonly string[];
}

const MODES: readonly string[] = ["disable", "require", "verify-ca", "verify-full"];
const VERSIONS: readonly string[] = ["TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"];
/** The value of `sslrootcert` that stands for the authorities that Node trusts. */
const SYSTEM = "system";

/** @param get a parameter of the URL, undefined when it is not there */
export function readTlsOptions(get: (name: string) => string | undefined): TlsOptions {
  const problems: string[] = [];
  const rootCert = get("sslrootcert");
  const mode = readMode(get, problems);
  const nothing = { mode, ssl: false, isVerified: false } as const;
  if (mode === null) {
    // Without a mode the files would have no effect, and the session would be in clear text.
    for (const name of ["sslrootcert", "sslcert", "sslkey", "sslnegotiation"]) {
      if (problems.length === 0 && get(name) !== undefined)
        problems.push(`has ${name} and no sslmode: add sslmode=verify-full`);
    }
    return { ...nothing, problems };
  }
  if (mode === "disable") return { ...nothing, problems };

  if (rootCert === SYSTEM && mode !== "verify-full") {
    problems.push(
      `has sslmode=${mode} with sslrootcert=system, which would accept any server with a public certificate: use sslmode=verify-full`,
    );
  } else if (rootCert === undefined && mode === "verify-ca") {
    problems.push(
      "has sslmode=verify-ca without sslrootcert: name the file with the certificate of the server's authority, or use sslmode=verify-full",
    );
  }

  const isVerified = mode !== "require" || rootCert !== undefined;
  const ca =
    rootCert === undefined || rootCert === SYSTEM
      ? undefined
      : readCertificates("sslrootcert", rootCert, problems);
  const ssl: ConnectionOptions = {
    // Always set, so that NODE_TLS_REJECT_UNAUTHORIZED does not decide.
    rejectUnauthorized: isVerified,
    ...(isVerified && mode !== "verify-full" ? { checkServerIdentity: () => undefined } : {}),
    ...(ca === undefined ? {} : { ca }),
    ...readClientCertificate(get, problems),
    ...readVersions(get, problems),
  };
  return { mode, ssl, isVerified, problems };
}

function readMode(
  get: (name: string) => string | undefined,
  problems: string[],
): TlsOptions["mode"] {
  const said = get("sslmode") ?? modeOfSsl(get("ssl"), problems);
  if (said === undefined) return get("sslrootcert") === SYSTEM ? "verify-full" : null;
  if (MODES.includes(said)) return said as SslMode;

  problems.push(
    /^(?:allow|prefer)$/.test(said)
      ? `has sslmode=${said}, which uses clear text where the server does not offer TLS: use verify-full, verify-ca, require or disable`
      : said === "no-verify"
        ? "has sslmode=no-verify, which is called require: use sslmode=require, or better verify-full"
        : "has an invalid value for sslmode: it must be disable, require, verify-ca or verify-full",
  );
  return null;
}

/** JDBC uses `ssl=true`, which libpq reads as `require`. */
function modeOfSsl(ssl: string | undefined, problems: string[]): SslMode | undefined {
  if (ssl === undefined) return undefined;
  if (/^(?:true|1|no-verify)$/.test(ssl)) return "require";
  if (/^(?:false|0)$/.test(ssl)) return "disable";
  problems.push("has an invalid value for ssl: use sslmode=verify-full, require or disable");
  return undefined;
}

function readClientCertificate(
  get: (name: string) => string | undefined,
  problems: string[],
): ConnectionOptions {
  const [certFile, keyFile, passphrase] = [get("sslcert"), get("sslkey"), get("sslpassword")];
  if (certFile === undefined && keyFile === undefined) return {};
  if (certFile === undefined || keyFile === undefined) {
    const [there, missing] = certFile === undefined ? ["sslkey", "sslcert"] : ["sslcert", "sslkey"];
    problems.push(`has ${there} without ${missing}: a client certificate needs both`);
    return {};
  }

  const cert = readCertificates("sslcert", certFile, problems);
  const key = readText("sslkey", keyFile, problems);
  if (cert === undefined || key === undefined) return {};
  const identity = { cert, key, ...(passphrase === undefined ? {} : { passphrase }) };
  try {
    createSecureContext(identity);
    return identity;
  } catch (error) {
    problems.push(
      `has a client certificate that cannot be used: check that sslkey is the key of sslcert, and sslpassword the key's password (${codeOf(error)})`,
    );
    return {};
  }
}

function readVersions(
  get: (name: string) => string | undefined,
  problems: string[],
): ConnectionOptions {
  const versions: ConnectionOptions = {};
  for (const [name, key] of [
    ["ssl_min_protocol_version", "minVersion"],
    ["ssl_max_protocol_version", "maxVersion"],
  ] as const) {
    const version = get(name);
    if (version === undefined) continue;
    if (VERSIONS.includes(version)) versions[key] = version as SecureVersion;
    else
      problems.push(`has an invalid value for ${name}: it must be one of ${VERSIONS.join(", ")}`);
  }
  return versions;
}

/** The authorities of a bundle as a text. Node would ignore a file that is not in PEM. */
function readCertificates(name: string, file: string, problems: string[]): string | undefined {
  const text = readText(name, file, problems);
  if (text === undefined) return undefined;
  const blocks = text.match(/-----BEGIN ([A-Z0-9 ]*CERTIFICATE)-----[\s\S]*?-----END \1-----/g);
  if (blocks?.some(isCertificate)) return text;
  problems.push(
    `has ${name}=${file}, which contains no readable certificate in PEM (-----BEGIN CERTIFICATE-----)`,
  );
  return undefined;
}

function isCertificate(block: string): boolean {
  try {
    return new X509Certificate(block) instanceof X509Certificate;
  } catch {
    return false;
  }
}

function readText(name: string, file: string, problems: string[]): string | undefined {
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    problems.push(`has ${name}=${file}, which cannot be read: ${codeOf(error)}`);
    return undefined;
  }
}

function codeOf(error: unknown): string {
  return error instanceof Error && "code" in error ? String(error.code) : "unknown error";
}
