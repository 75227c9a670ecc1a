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
    const isLost = customer === undefined || !isSame(customer, account);
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

/**
 * I7 at any moment, faults or not: accounts whose rows differ from what the API accepted last, and that look as if nothing were to be
 * done. Asks the API before and after the rows, so that what is accepted meanwhile is no false alarm.
 */
export async function hiddenAccounts(
  database: Pick<TestDatabase, "query">,
  sandbox: Pick<Sandbox, "customers">,
): Promise<string[]> {
  const before = new Map(sandbox.customers().map((customer) => [customer.id, customer]));
  const accounts = await readAccounts(database);
  const after = new Map(sandbox.customers().map((customer) => [customer.id, customer]));

  return accounts.flatMap((account) => {
    if (account.isNoted || account.state !== "clean") return [];
    const customer = after.get(account.uuid ?? "");
    const isStill = customer?.revision === before.get(account.uuid ?? "")?.revision;
    const isDelivered = customer !== undefined && isSame(customer, account);
    return isStill && !isDelivered ? [account.code] : [];
  });
}

function isSame(customer: SandboxCustomer, { payload }: AuditedAccount): boolean {
  return JSON.stringify(payloadOfCommand(customer)) === JSON.stringify(payload);
}

/** Nothing is captured and unfolded, and every account is clean or waits for a human or a parent (at which it looks now and then). */
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

interface AuditedAccount {
  readonly code: string;
  readonly uuid: string | null;
  /** null: the queue does not know it. */
  readonly state: string | null;
  /** A captured change of it, or a marker that may stand for one, waits to be folded. */
  readonly isNoted: boolean;
  readonly payload: unknown;
  readonly tiers: readonly AuditedRow[];
  readonly pics: readonly AuditedRow[];
}

interface AuditedRow {
  readonly key: string;
  readonly uuid: string | null;
}

/** What of an account is compared, all from one snapshot; the transform is written here a second time, on purpose, in SQL. */
async function readAccounts(database: Pick<TestDatabase, "query">): Promise<AuditedAccount[]> {
  const found = await database.query<{ name: string }>(
    "select name from unnest($1::text[]) name where to_regclass('public.' || name) is not null",
    [
      [
        "m_account_type",
        "m_account_billing_method",
        "m_account_address",
        "m_account_bank",
        "m_bank",
      ],
    ],
  );
  const tables = new Set(found.map(({ name }) => name));
  const ifTable = (table: string, sql: string) => (tables.has(table) ? sql : "null");
  const msisdn = (phone: string) =>
    `case when ${phone} ~ '[0-9]' then '+' || regexp_replace(regexp_replace(${phone}, '[^0-9]', '', 'g'), '^(0|(?=8))', '62') else '' end`;
  const isAutoDeduct = ifTable(
    "m_account_billing_method",
    "(select regexp_replace(lower(b.method), '[ _-]', '', 'g') = 'autodeduct' from m_account_billing_method b where b.id = t.billing_method_id)",
  );

  const rows = await database.query<{ account: AuditedAccount }>(
    `select json_build_object(
       'code', a.account_no,
       'uuid', a.uuid_be,
       'state', (
         -- Who is blocked looks at its parent now and then, and is running just then.
         select case when q.blocked_by is not null then 'blocked' else s.state end
         from account_sync.status s
         join account_sync.account q on q.account_id = s.account_id
         where s.account_id = a.id::text
       ),
       'isNoted', exists (select from account_sync.change c where c.account_id = a.id::text or c.marker is not null)
         or exists (select from account_sync.expansion),
       'payload', json_build_array(
         a.name,
         btrim(coalesce(a.email, '')),
         ${msisdn("a.phone_no")},
         coalesce(a.no_ktp, ''),
         coalesce(a.no_npwp, ''),
         coalesce(${ifTable("m_account_type", "(select nullif(btrim(y.name), '') from m_account_type y where y.id = a.account_type_id)")}, 'branch'),
         (select p.uuid_be from m_account p where p.id = a."parentId"),
         (
           select case
             when count(*) = 0 then null
             when count(*) filter (where t.percentage) > count(*) filter (where not t.percentage) then 'percentage'
             else 'nominal'
           end
           from m_account_package_tier t where t.account_id = a.id and t.is_active and ${isAutoDeduct}
         ),
         coalesce(
           ${ifTable(
             "m_account_address",
             `(
               select json_build_array(coalesce(d.address1, ''), coalesce(d.address2, ''), coalesce(d.sub_district, ''), coalesce(d.city, ''), coalesce(d.province, ''), coalesce(nullif(btrim(d.country), ''), 'Indonesia'), coalesce(d.postalcode, ''))
               from m_account_address d where d.account_id = a.id and d.is_active
               order by d.is_primary desc, d.created_at, d.id limit 1
             )`,
           )},
           json_build_array('', '', '', '', '', 'Indonesia', '')
         ),
         ${ifTable(
           "m_account_bank",
           `(
             select json_build_array(
               coalesce(nullif(btrim(k.bank_account_holder_firstname), ''), split_part(btrim(k.bank_account_holder_name), ' ', 1)),
               coalesce(nullif(btrim(k.bank_account_holder_lastname), ''), substr(btrim(k.bank_account_holder_name), strpos(btrim(k.bank_account_holder_name), ' ') + 1)),
               ${ifTable("m_bank", "(select b.uuid_be from m_bank b where b.id = k.bank_id)")},
               k.bank_account_no,
               k.bank_account_holder_name,
               case when a.is_active then '1' else '2' end
             )
             from m_account_bank k where k.account_id = a.id and k.is_active
             order by k.created_at, k.id limit 1
           )`,
         )},
         (
           select coalesce(json_agg(json_build_array(t.min_value::float8, t.max_value::float8, t.amount::float8, case when t.percentage then 'percentage' else 'nominal' end, t.start_date || 'T00:00:00', t.end_date || 'T23:59:59') order by t.min_value, t.id), '[]')
           from m_account_package_tier t where t.account_id = a.id and t.is_active
         ),
         (
           select coalesce(json_agg(json_build_array(p.name, btrim(p.email), ${msisdn("p.phone_no")}, coalesce(p.no_ktp, ''), coalesce(p.no_npwp, ''), coalesce(nullif(btrim(p.username), ''), regexp_replace(lower(p.name), '\\s', '', 'g'))) order by p.created_at, p.id), '[]')
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
  const { customer, branch, tier, ...sent } = command as SentCommand;
  const bank = sent["beneficiary-account"];
  const address = ["building", "street", "region", "city", "state", "country", "zip_code"].map(
    (part) => customer.address[part],
  );
  return [
    customer["name"],
    customer["email"],
    customer["msisdn"],
    customer["ktp"],
    customer["npwp"],
    customer["customer_role"],
    customer["parent_id"],
    customer["deduction_active_type"] ?? null,
    // Sent twice; whatever the branch says differently makes the payloads differ.
    branch["name"] === customer["name"] &&
    JSON.stringify(branch["address"]) === JSON.stringify(customer.address)
      ? address
      : [branch["name"], branch["address"]],
    bank && [
      bank["firstname"],
      bank["lastname"],
      bank.bank["id"],
      bank["account_number"],
      bank["account_name"],
      bank.customer_status["id"],
    ],
    tier.map((item) => [
      item["min_amount"],
      item["max_amount"],
      item["fee"],
      item["tier_type"],
      item["valid_from"],
      item["valid_to"],
    ]),
    sent["customer-crew"].map((item) => [
      item["name"],
      item["email"],
      item["msisdn"],
      item["ktp"],
      item["npwp"],
      item["username"],
    ]),
  ];
}

type Json = Readonly<Record<string, unknown>>;

interface SentCommand {
  readonly customer: Json & { readonly address: Json };
  readonly branch: Json;
  readonly tier: readonly Json[];
  readonly "customer-crew": readonly Json[];
  readonly "beneficiary-account":
    | (Json & { readonly bank: Json; readonly customer_status: Json })
    | null;
}

function keyOf(item: Json): unknown {
  return item["min_amount"] ?? item["name"];
}
