/**
 * Drift: the tables do not hold what the API accepted last, although the queue counts the account as delivered. Found with the transform
 * and the fingerprint of a sync, so that the two never disagree. Reads only; marks nothing.
 */
import { loadAccounts } from "../account/load.ts";
import { fingerprintOf } from "../customer-command/fingerprint.ts";
import type { TransformOptions } from "../customer-command/transform.ts";
import { toCommand } from "../customer-command/transform.ts";
import type { Database } from "../db/database.ts";

/**
 * `changed`: other data than were accepted, or it is not known what was. `ids_missing`: a tier or a contact person has no external id,
 * or rows have lost theirs. `customer_missing`: the account has none, though the API took it once, and none is known.
 */
export type Drift = "changed" | "ids_missing" | "customer_missing";

export interface KnownAccount {
  readonly accountId: string;
  /** Of the command last accepted; null when that is not known. */
  readonly fingerprint: string | null;
}

export interface Compared {
  /** Per account, in order; null where there is none. An account whose row is gone has none. */
  readonly drift: readonly (Drift | null)[];
  /** Accounts with ids that are not in the id mapping. */
  readonly unmapped: readonly string[];
}

export async function findDrift(
  db: Database,
  known: readonly KnownAccount[],
  mapping: TransformOptions,
): Promise<Compared> {
  const loaded = await loadAccounts(
    db,
    known.map(({ accountId }) => accountId),
  );
  const drift = known.map(({ fingerprint }, position): Drift | null => {
    const account = loaded[position]?.account ?? null;
    if (account === null) return null;

    const { command, sent } = toCommand(account, mapping);
    if (sent.externalId === null && fingerprint !== null) return "customer_missing";
    if (fingerprintOf(command) !== fingerprint) return "changed";
    const lacksIds =
      [...sent.tiers, ...sent.pics].some(({ externalId }) => externalId === null) ||
      // Known, and to be put back into the rows.
      (loaded[position]?.mapping.restored.length ?? 0) > 0;
    return lacksIds ? "ids_missing" : null;
  });
  const unmapped = known
    .filter((_, position) => (loaded[position]?.mapping.unmapped.length ?? 0) > 0)
    .map(({ accountId }) => accountId);
  return { drift, unmapped };
}
