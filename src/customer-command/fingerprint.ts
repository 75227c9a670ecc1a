import { hash } from "node:crypto";
import type { CustomerCommand } from "./command.ts";
import {
  type FieldFingerprints,
  fingerprintFields,
  fingerprintFieldsLike,
} from "./field-fingerprints.ts";
import { MAPPING_VERSION } from "./transform.ts";

export type { FieldFingerprints } from "./field-fingerprints.ts";

/**
 * The fingerprint of a command: equal exactly when the same data would be sent by the same mapping. The external ids of our rows are
 * left out, so that an accepted create does not look changed once its ids are written. The ids of the parent and of the bank are data,
 * and included.
 */
export function fingerprintOf(command: CustomerCommand): string {
  return toFingerprint(JSON.stringify(withoutIds(command)));
}

export interface SerializedCommand {
  /** JSON text, as it is sent. */
  readonly body: string;
  readonly fingerprint: string;
}

/** Body and fingerprint together: a create, which has no ids, is serialized once for both. */
export function serializeCommand(command: CustomerCommand): SerializedCommand {
  const body = JSON.stringify(command);
  const data = withoutIds(command);
  return { body, fingerprint: toFingerprint(data === command ? body : JSON.stringify(data)) };
}

/** The fingerprints of its fields without the ids of our rows; null when there are more fields than are kept. */
export function fieldFingerprintsOf(command: CustomerCommand, accountId: string): string | null {
  return fingerprintFields(withoutIds(command), accountId);
}

/** Those that are kept of an earlier command, and the same of this one. */
export function fieldFingerprintsLike(
  kept: FieldFingerprints,
  command: CustomerCommand,
  accountId: string,
): ReturnType<typeof fingerprintFieldsLike> {
  return fingerprintFieldsLike(kept, withoutIds(command), accountId);
}

function toFingerprint(canonical: string): string {
  return hash("sha256", `${MAPPING_VERSION}\n${canonical}`);
}

/** The command itself where it has no ids. */
function withoutIds(command: CustomerCommand): CustomerCommand {
  if (!hasIds(command)) return command;
  const { "tier-assignment": _, ...sections } = command;

  return {
    ...sections,
    customer: withoutId(command.customer),
    tier: command.tier.map(withoutId),
    "customer-crew": command["customer-crew"].map(withoutId),
    branch: withoutId(command.branch),
  };
}

function hasIds(command: CustomerCommand): boolean {
  return (
    command["tier-assignment"] !== undefined ||
    hasId(command.customer) ||
    hasId(command.branch) ||
    command.tier.some(hasId) ||
    command["customer-crew"].some(hasId)
  );
}

function hasId(item: { readonly id?: string }): boolean {
  return item.id !== undefined;
}

function withoutId<Item extends { readonly id?: string }>({
  id: _,
  ...data
}: Item): Omit<Item, "id"> {
  return data;
}
