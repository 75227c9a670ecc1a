/**
 * Invariants I1, I2, I3 and I4 from outside: what the API knows held against what stands in the source tables. Neither our logs nor our
 * code is asked, so a bug in either cannot hide itself.
 *
 * Accounts are told apart by their account number, so each needs its own.
 */
import type { Sandbox } from "../../src/local/sandbox.ts";
import type { SandboxCustomer } from "../../src/local/sandbox-customers.ts";
import type { TestDatabase } from "./postgres.ts";

export interface Audit {
  /** I1: accounts whose last accepted command differs from their rows and that do not wait visibly for a human or a parent. */
  readonly lost: readonly string[];
  /** I2: requests that were in work at the same time as another one for the same account. */
  readonly overlapping: number;
  /** I3: account numbers with more than one customer. */
  readonly twins: readonly string[];
  /** I4: rows whose external id the API gave out for something else, or never. */
  readonly wrongIds: readonly string[];
  /** I4: ids that the API gave out for a row that is there, and that stand on no row although nothing waits any more. */
  readonly lostIds: readonly string[];
}

/** All accounts of the database. Meant for when faults have stopped and the queue has come to rest (see `isAtRest`). */
export async function audit(
  database: Pick<TestDatabase, "query">,
  sandbox: Pick<Sandbox, "customers" | "counts">,
): Promise<Audit> {
  const accounts = await readAccounts(database);
  const customersOf = Map.groupBy(sandbox.customers(), ({ code }) => code);
  const lost: string[] = [];
  const wrongIds: string[] = [];
  const lostIds: string[] = [];

  for (const account of accounts) {
    const isSettled = account.state === "clean";
    const customers = customersOf.get(account.code) ?? [];
    const customer = customers.find(({ id }) => id === account.uuid);
    const name = `account ${account.code}`;

    if (account.uuid !== null && customer === undefined) wrongIds.push(name);
    if (isSettled && account.uuid === null && customers.length > 0) lostIds.push(name);
    const isLost =
      customer === undefined ||
      JSON.stringify(payloadOfCommand(customer)) !== JSON.stringify(account.payload);
    if (isLost && !["parked", "blocked"].includes(account.state ?? "")) lost.push(name);
    if (customer === undefined) continue;

    const given = new Map(
      [...customer.tiers, ...customer.crew].map(({ id, item }) => [id, String(keyOf(item))]),
    );
    for (const row of [...account.tiers, ...account.pics]) {
      if (row.uuid !== null && isSettled && given.get(row.uuid) !== row.key)
        wrongIds.push(`${name}, row ${row.key}`);
      if (row.uuid === null && isSettled) lostIds.push(`${name}, row ${row.key}`);
    }
  }
  return {
    lost,
    overlapping: sandbox.counts().overlapping,
    twins: [...customersOf].filter(([, customers]) => customers.length > 1).map(([code]) => code),
    wrongIds,
    lostIds,
  };
}

export const FLAWLESS: Audit = { lost: [], overlapping: 0, twins: [], wrongIds: [], lostIds: [] };

/** Nothing is captured and unfolded, and every account is clean or waits for a human or a parent. */
export async function isAtRest(database: Pick<TestDatabase, "query">): Promise<boolean> {
  const [row] = await database.query<{ busy: boolean }>(
    `select
       exists (select from account_sync.change)
       or exists (select from account_sync.expansion)
       or exists (select from account_sync.status where state not in ('clean', 'parked', 'blocked')) as busy`,
  );
  return row?.busy === false;
}

interface AuditedAccount {
  readonly code: string;
  readonly uuid: string | null;
  /** null: the queue does not know it. */
  readonly state: string | null;
  readonly payload: unknown;
  readonly tiers: readonly AuditedRow[];
  readonly pics: readonly AuditedRow[];
}

interface AuditedRow {
  readonly key: string;
  readonly uuid: string | null;
}

/** What of an account is compared; written here a second time, on purpose, in SQL. */
async function readAccounts(database: Pick<TestDatabase, "query">): Promise<AuditedAccount[]> {
  const rows = await database.query<{ account: AuditedAccount }>(
    `select json_build_object(
       'code', a.account_no,
       'uuid', a.uuid_be,
       'state', (select s.state from account_sync.status s where s.account_id = a.id::text),
       'payload', json_build_object(
         'name', a.name,
         'email', coalesce(a.email, ''),
         'tiers', (
           select coalesce(json_agg(json_build_array(t.min_value::float8, t.max_value::float8, t.amount::float8, case when t.percentage then 'percentage' else 'nominal' end) order by t.min_value, t.id), '[]')
           from m_account_package_tier t where t.account_id = a.id and t.is_active
         ),
         'crew', (
           select coalesce(json_agg(json_build_array(p.name, p.email) order by p.created_at, p.id), '[]')
           from m_account_pic p where p.account_id = a.id and p.is_active
         )
       ),
       'tiers', (
         select coalesce(json_agg(json_build_object('key', t.min_value::float8::text, 'uuid', t.uuid_be)), '[]')
         from m_account_package_tier t where t.account_id = a.id and t.is_active
       ),
       'pics', (
         select coalesce(json_agg(json_build_object('key', p.name, 'uuid', p.uuid_be)), '[]')
         from m_account_pic p where p.account_id = a.id and p.is_active
       )
     ) as account
     from m_account a`,
  );
  return rows.map(({ account }) => account);
}

function payloadOfCommand({ command }: SandboxCustomer): unknown {
  const sent = command as SentCommand;
  return {
    name: sent.customer.name,
    email: sent.customer.email,
    tiers: sent.tier.map((tier) => [
      tier["min_amount"],
      tier["max_amount"],
      tier["fee"],
      tier["tier_type"],
    ]),
    crew: sent["customer-crew"].map((pic) => [pic["name"], pic["email"]]),
  };
}

interface SentCommand {
  readonly customer: { readonly name: string; readonly email: string };
  readonly tier: readonly Readonly<Record<string, unknown>>[];
  readonly "customer-crew": readonly Readonly<Record<string, unknown>>[];
}

function keyOf(item: Readonly<Record<string, unknown>>): unknown {
  return item["min_amount"] ?? item["name"];
}
