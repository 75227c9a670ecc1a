/**
 * Certificates of a test's own: authorities, and what they issue. Node verifies and signs but makes none, so what X.509 (RFC 5280) wants
 * at the least is put together here; nothing has to be installed, and no key is in the repository.
 */
import { generateKeyPairSync, type KeyObject, randomBytes, sign } from "node:crypto";
import { isIP } from "node:net";

export interface Authority {
  /** In PEM, as `sslrootcert` wants it. */
  readonly certificate: string;
  issue(wanted: Wanted): Issued;
}

export interface Wanted {
  readonly commonName: string;
  /** DNS names and IPv4 addresses. */
  readonly hosts?: readonly string[];
  /** Default: from an hour ago for a day. */
  readonly validFrom?: Date;
  readonly validUntil?: Date;
}

export interface Issued {
  readonly certificate: string;
  readonly key: string;
}

export function createAuthority(commonName: string): Authority {
  const keys = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const certificate = toCertificate({
    wanted: { commonName },
    issuer: commonName,
    publicKey: keys.publicKey,
    signedBy: keys.privateKey,
    isAuthority: true,
  });
  return {
    certificate,
    issue(wanted) {
      const own = generateKeyPairSync("ec", { namedCurve: "P-256" });
      return {
        certificate: toCertificate({
          wanted,
          issuer: commonName,
          publicKey: own.publicKey,
          signedBy: keys.privateKey,
          isAuthority: false,
        }),
        key: toKey(own.privateKey),
      };
    },
  };
}

/** As `openssl req -x509` makes it for a server without an authority. */
export function issueSelfSigned(wanted: Wanted): Issued {
  const { publicKey, privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const certificate = toCertificate({
    wanted,
    issuer: wanted.commonName,
    publicKey,
    signedBy: privateKey,
    isAuthority: false,
  });
  return { certificate, key: toKey(privateKey) };
}

function toKey(key: KeyObject): string {
  return key.export({ type: "pkcs8", format: "pem" }).toString();
}

interface Making {
  readonly wanted: Wanted;
  readonly issuer: string;
  readonly publicKey: KeyObject;
  readonly signedBy: KeyObject;
  readonly isAuthority: boolean;
}

function toCertificate({ wanted, issuer, publicKey, signedBy, isAuthority }: Making): string {
  const { commonName, hosts = [] } = wanted;
  const validFrom = wanted.validFrom ?? new Date(Date.now() - 3_600_000);
  const validUntil = wanted.validUntil ?? new Date(Date.now() + 86_400_000);
  const extensions = [
    extension("551d13", isAuthority ? sequence(element(0x01, Buffer.from([0xff]))) : sequence()),
    ...(hosts.length === 0 ? [] : [extension("551d11", sequence(...hosts.map(toHost)))]),
  ];
  const body = sequence(
    element(0xa0, element(0x02, Buffer.from([2]))),
    // Positive, and never with a leading zero.
    element(0x02, Buffer.concat([Buffer.from([0x40]), randomBytes(8)])),
    ECDSA_WITH_SHA256,
    toName(issuer),
    sequence(toTime(validFrom), toTime(validUntil)),
    toName(commonName),
    publicKey.export({ type: "spki", format: "der" }),
    element(0xa3, sequence(...extensions)),
  );
  const certificate = sequence(
    body,
    ECDSA_WITH_SHA256,
    element(0x03, Buffer.from([0]), sign("sha256", body, signedBy)),
  );
  const lines = certificate.toString("base64").match(/.{1,64}/g) ?? [];
  return ["-----BEGIN CERTIFICATE-----", ...lines, "-----END CERTIFICATE-----", ""].join("\n");
}

/** DER: a tag, the length, the content. */
function element(tag: number, ...content: readonly Buffer[]): Buffer {
  const all = Buffer.concat(content);
  const { length } = all;
  const size =
    length < 0x80
      ? [length]
      : length < 0x100
        ? [0x81, length]
        : [0x82, Math.floor(length / 0x100), length % 0x100];
  return Buffer.concat([Buffer.from([tag, ...size]), all]);
}

function sequence(...content: readonly Buffer[]): Buffer {
  return element(0x30, ...content);
}

function identifier(hex: string): Buffer {
  return element(0x06, Buffer.from(hex, "hex"));
}

const ECDSA_WITH_SHA256 = sequence(identifier("2a8648ce3d040302"));

function toName(commonName: string): Buffer {
  const attribute = sequence(identifier("550403"), element(0x0c, Buffer.from(commonName)));
  return sequence(element(0x31, attribute));
}

function toTime(time: Date): Buffer {
  const digits = time.toISOString().replaceAll(/\D/g, "").slice(2, 14);
  return element(0x17, Buffer.from(`${digits}Z`));
}

function toHost(host: string): Buffer {
  return isIP(host) === 4
    ? element(0x87, Buffer.from(host.split(".").map(Number)))
    : element(0x82, Buffer.from(host));
}

function extension(hex: string, value: Buffer): Buffer {
  return sequence(identifier(hex), element(0x04, value));
}
