/**
 * Before anything is sent: the account as it was handed in meets the one in the tables. Calls that come together are read together, so
 * that five hundred of them need no more connections than one.
 */
import type { Account } from "../account/account.ts";
import { canonicalIds } from "../account/canonical-ids.ts";
import { loadAccounts } from "../account/load.ts";
import { batched } from "../db/batched.ts";
import { findIdOwners } from "../sync/adopt.ts";
import type { Wiring } from "../wiring.ts";
import { completedBy } from "./complete-account.ts";
import { receivedOf } from "./failed-updates.ts";
import type { GivenAccount } from "./parse-account-data.ts";
import { errorOf } from "./processing-result.ts";
import { lookUpReferences } from "./references.ts";
import { sentOf, writeIds } from "./write-ids.ts";

export type Prepared =
  | {
      readonly kind: "prepared";
      /** As it was handed in, with what it refers to. */
      readonly given: Account;
      /** As it would be sent now. Under the lease it is made once more, of the row as it stands then. */
      readonly account: Account;
    }
  | {
      readonly kind: "unusable";
      readonly field: string;
      readonly rule: string;
      readonly message: string;
    };

/** Accounts that one statement reads. */
const BATCH_MAX = 64;

/** @param how `adopting`: for a sync. `reading`: nothing is written. Rejects when the database does not answer. */
export type Prepare = (
  given: GivenAccount,
  how: { readonly kind: "adopting"; readonly userId: string } | { readonly kind: "reading" },
) => Promise<Prepared>;

export function createPrepare({ db, connections }: Pick<Wiring, "db" | "connections">): Prepare {
  const read = batched(BATCH_MAX, async (batch: readonly GivenAccount[]) => {
    const ids = await canonicalIds(
      db,
      batch.map(({ account }) => account.id),
    );
    const given = (await lookUpReferences(db, batch)).map((account, position) => ({
      ...account,
      id: ids[position] ?? account.id,
    }));
    const loaded = await loadAccounts(
      db,
      given.map(({ id }) => id),
    );
    return given.map((account, position) => ({ account, loaded: loaded[position] }));
  });

  return async (handedIn, how) => {
    const { account: given, loaded } = await read(handedIn);
    const stored = loaded?.account ?? null;
    if (stored === null) {
      const message = loaded?.tooLarge ?? `there is no account ${given.id} in m_account`;
      return { kind: "unusable", field: "id", rule: "not_found", message };
    }

    if (how.kind === "reading") {
      const externalId = stored.externalId ?? given.externalId;
      return { kind: "prepared", given, account: completedBy({ ...stored, externalId }, given) };
    }
    const taken = await adopt(given, stored, how.userId);
    if (taken !== null) return { kind: "unusable", field: "uuid_be", ...taken };
    const [now] = given.externalId === null ? [loaded] : await loadAccounts(db, [given.id]);
    return { kind: "prepared", given, account: completedBy(now?.account ?? stored, given) };
  };

  /**
   * An external id that was handed in for a row that has none: the caller knows of a customer that we do not, and a create would make
   * a second one. So it is written to the row, unless another account has it. Resolves with what is in the way.
   */
  async function adopt(
    given: Account,
    stored: Account,
    userId: string,
  ): Promise<{ readonly rule: string; readonly message: string } | null> {
    if (given.externalId === null || stored.externalId !== null) return null;

    const byDefault = await connections.of(null);
    const configId = "error" in byDefault ? null : byDefault.configId;
    const wanted = { externalId: given.externalId, accountId: given.id, configId };
    const [owner = null] = await findIdOwners(db, [wanted], "rows too");
    if (owner !== null) return { rule: "taken", message: `uuid_be is the id of account ${owner}` };

    const rows = await writeIds(db, {
      sent: sentOf(stored),
      received: receivedOf([{ type: "customer", id: given.id, uuidBe: given.externalId }]),
      userId,
      replace: false,
    });
    if ("error" in rows) throw new Error(rows.error);
    const [error] = rows.map(errorOf).filter((message) => message !== null);
    return error === undefined
      ? null
      : { rule: "not_written", message: `uuid_be could not be written: ${error}` };
  }
}
