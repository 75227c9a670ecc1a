/**
 * The idempotency key of a create: derived from the account and the ordinal of its creates, so that the same create has the same key
 * after a restore to an earlier point, or a failover that lost the last second. A UUIDv5 (RFC 9562, section 5.5) in the namespace of the
 * installation. Pure.
 */
import { createHash } from "node:crypto";

/**
 * @param installationId a UUID; without it the account 1 of another database would have the key of ours
 * @param ordinal creates of the account that have come to an end before
 */
export function createKeyOf(installationId: string, accountId: string, ordinal: number): string {
  return uuidV5(installationId, `${accountId} ${ordinal}`);
}

export function uuidV5(namespace: string, name: string): string {
  const hash = createHash("sha1")
    .update(Buffer.from(namespace.replaceAll("-", ""), "hex"))
    .update(name, "utf8")
    .digest()
    .subarray(0, 16);
  hash.writeUInt8((hash.readUInt8(6) & 0x0f) | 0x50, 6);
  hash.writeUInt8((hash.readUInt8(8) & 0x3f) | 0x80, 8);
  const hex = hash.toString("hex");
  return [
    hex.slice(0, 8),
    hex.slice(8, 12),
    hex.slice(12, 16),
    hex.slice(16, 20),
    hex.slice(20),
  ].join("-");
}
