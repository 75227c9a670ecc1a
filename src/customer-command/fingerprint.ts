import { createHash, hash } from "node:crypto";
import type { CustomerCommand } from "./command.ts";
import { fieldsOf } from "./field-paths.ts";
import { MAPPING_VERSION } from "./transform.ts";

/**
 * The fingerprint of a command: equal exactly when the same data would be sent by the same mapping. The external ids of our rows are
 * left out, so that an accepted create does not look changed once its ids are written. The ids of the parent and of the bank are data,
 * and included.
 */
export function fingerprintOf(command: CustomerCommand): string {
  const canonical = JSON.stringify(withoutIds(command));

  return createHash("sha256").update(`${MAPPING_VERSION}\n${canonical}`).digest("hex");
}

/** Path in the command → fingerprint of the value there. */
export type FieldFingerprints = Readonly<Record<string, string>>;

/** About seventy tiers with as many contact persons. Of a larger command only the whole fingerprint is kept. */
const FIELDS_KEPT_MAX = 1_000;
/**
 * In hex digits; too short to find the value by trying: of a million phone numbers, fifteen have the same one. One change in 65,536
 * goes unseen in its field, but not in the whole fingerprint.
 */
const FIELD_FINGERPRINT_LENGTH = 4;

/**
 * A fingerprint of each field, to find out which fields changed after the command itself is deleted. The account's id is part of each,
 * so that equal values of two accounts have different ones. null when there are more fields than are kept.
 */
export function fieldFingerprintsOf(
  command: CustomerCommand,
  accountId: string,
): FieldFingerprints | null {
  const fields = fieldsOf(withoutIds(command));
  if (fields.length > FIELDS_KEPT_MAX) return null;

  return Object.fromEntries(
    fields.map(({ path, value }) => [
      path,
      hash("sha256", JSON.stringify([accountId, path, value])).slice(0, FIELD_FINGERPRINT_LENGTH),
    ]),
  );
}

function withoutIds(command: CustomerCommand) {
  const { "tier-assignment": _, ...sections } = command;

  return {
    ...sections,
    customer: withoutId(command.customer),
    tier: command.tier.map(withoutId),
    "customer-crew": command["customer-crew"].map(withoutId),
    branch: withoutId(command.branch),
  };
}

function withoutId<Item extends { readonly id?: string }>({
  id: _,
  ...data
}: Item): Omit<Item, "id"> {
  return data;
}
