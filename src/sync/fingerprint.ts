import { createHash } from "node:crypto";
import { type CustomerCommand, MAPPING_VERSION } from "./command.ts";

/**
 * The fingerprint of a command: equal exactly when the same data would be sent by the same mapping. External ids of ours stay
 * out of it, so what was accepted as a create does not look changed once its ids are written. The ids of the parent and of
 * the bank are data, and stay in.
 */
export function fingerprintOf(command: CustomerCommand): string {
  const { "tier-assignment": _, ...sections } = command;

  const canonical = JSON.stringify({
    ...sections,
    customer: withoutId(command.customer),
    tier: command.tier.map(withoutId),
    "customer-crew": command["customer-crew"].map(withoutId),
    branch: withoutId(command.branch),
  });

  return createHash("sha256").update(`${MAPPING_VERSION}\n${canonical}`).digest("hex");
}

function withoutId<Item extends { readonly id?: string }>({
  id: _,
  ...data
}: Item): Omit<Item, "id"> {
  return data;
}
