/** Reads both sides, the API's history and the database, and has them judged (verdict.ts). Neither our logs nor our code is asked. */
import type { Sandbox } from "../../src/local/sandbox.ts";
import type { Explanation } from "./explanation.ts";
import { toMadeCustomer } from "./made-customers.ts";
import type { TestDatabase } from "./postgres.ts";
import { readOrphans, readSourceAccounts } from "./source-accounts.ts";
import { isDelivered, judge, type Verdict } from "./verdict.ts";

/** What the judge needs of the customer API. */
export type ApiWitness = Pick<Sandbox, "customers" | "history" | "counts">;

/** All accounts of the database. Meant for when faults have ended and the queue has come to rest (see `isAtRest`). */
export async function audit(
  database: Pick<TestDatabase, "query">,
  sandbox: ApiWitness,
  explanations: readonly Explanation[] = [],
): Promise<Verdict> {
  const accounts = [...(await readSourceAccounts(database)), ...(await readOrphans(database))];
  const history = {
    customers: sandbox.customers().map(toMadeCustomer),
    requests: sandbox.history(),
    overlapping: sandbox.counts().overlapping,
  };
  return judge(accounts, history, explanations);
}

/**
 * I7 at any moment, faults or not: accounts whose rows differ from what the API accepted last although they look clean. The API is read
 * before and after the rows, so that a command accepted meanwhile is no false alarm.
 */
export async function hiddenAccounts(
  database: Pick<TestDatabase, "query">,
  sandbox: Pick<Sandbox, "customers">,
): Promise<string[]> {
  const before = customersByName(sandbox);
  const accounts = await readSourceAccounts(database);
  const after = customersByName(sandbox);

  return accounts.flatMap((account) => {
    if (account.isNoted || account.state !== "clean") return [];
    // Ids that were cleared and nothing else are put back with the next change.
    const name = `${account.code} ${account.uuid ?? account.kept}`;
    const customer = after.get(name);
    const isStill = customer?.revision === before.get(name)?.revision;
    const isHidden = customer === undefined || !isDelivered(toMadeCustomer(customer), account);
    return isStill && isHidden ? [account.code] : [];
  });
}

/** By account number and id: of two APIs the same id is another customer. */
function customersByName(sandbox: Pick<Sandbox, "customers">) {
  return new Map(
    sandbox.customers().map((customer) => [`${customer.code} ${customer.id}`, customer]),
  );
}

/** No change waits to be folded, and every account is clean, parked, or blocked by a parent without an id (and rechecked now and then). */
export async function isAtRest(database: Pick<TestDatabase, "query">): Promise<boolean> {
  const [row] = await database.query<{ busy: boolean }>(
    `select
       exists (select from account_sync.change)
       or exists (select from account_sync.expansion)
       or exists (
         select
         from account_sync.account q
         where q.changed_at is not null
           and q.parked_at is null
           and not exists (select from m_account p where p.id::text = q.blocked_by and p.uuid_be is null)
       ) as busy`,
  );
  return row?.busy === false;
}
