/**
 * The accounts as the source tables hold them, for the judge of the fault tests (verdict.ts): the payload that their rows make, their
 * external ids, and their state in the queue.
 */
import type { TestDatabase } from "./postgres.ts";

export interface SourceAccount {
  /** The account number, by which an account and its customer are told apart: each needs its own. */
  readonly code: string;
  readonly uuid: string | null;
  /** The same as account_sync.id_mapping keeps it. */
  readonly kept: string | null;
  /** As in account_sync.status. null: the queue does not know the account. */
  readonly state: string | null;
  readonly errorClass: string | null;
  readonly error: string | null;
  /** The idempotency key of its send that is not settled; null when there is none. */
  readonly unsettledKey: string | null;
  /** A captured change of the account, or a marker that may stand for one, is not folded yet. */
  readonly isNoted: boolean;
  readonly payload: unknown;
  readonly tiers: readonly SourceRow[];
  readonly pics: readonly SourceRow[];
}

interface SourceRow {
  /** Unique among the account's rows of its kind: min_value of a tier, name of a PIC. */
  readonly key: string;
  readonly uuid: string | null;
  readonly kept: string | null;
}

/** All accounts, from one snapshot. The transform is written here a second time, in SQL, so that a bug in ours cannot hide itself. */
export async function readSourceAccounts(
  database: Pick<TestDatabase, "query">,
): Promise<SourceAccount[]> {
  const found = await database.query<{ name: string }>(
    "select name from unnest($1::text[]) name where to_regclass(case when name like '%.%' then name else 'public.' || name end) is not null",
    [
      [
        "m_account_type",
        "m_account_billing_method",
        "m_account_address",
        "m_account_bank",
        "m_bank",
        "account_sync.id_mapping",
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

  const kept = (owner: string, entity: string, row: string) =>
    ifTable(
      "account_sync.id_mapping",
      `(select m.external_id from account_sync.id_mapping m where m.account_id = ${owner}::text and m.entity = '${entity}' and m.row_id = ${row}::text)`,
    );

  const rows = await database.query<{ account: SourceAccount }>(
    `with noted as materialized (
       select account_id, marker from account_sync.change
     )
     select json_build_object(
       'code', a.account_no,
       'uuid', a.uuid_be,
       'kept', ${kept("a.id", "account", "a.id")},
       -- A blocked account is running for a moment at each recheck of its parent.
       'state', case when q.blocked_by is not null then 'blocked' else s.state end,
       'errorClass', s.error_class,
       'error', s.error,
       'unsettledKey', (
         select t.idempotency_key from account_sync.attempt t
         where t.account_id = s.account_id and t.settled_at is null
       ),
       'isNoted', exists (select from noted n where n.account_id = a.id::text or n.marker is not null)
         or exists (select from account_sync.expansion),
       'payload', json_build_array(
         a.name,
         btrim(coalesce(a.email, '')),
         ${msisdn("a.phone_no")},
         coalesce(a.no_ktp, ''),
         coalesce(a.no_npwp, ''),
         coalesce(${ifTable("m_account_type", "(select nullif(btrim(y.name), '') from m_account_type y where y.id = a.account_type_id)")}, 'branch'),
         (
           select coalesce(p.uuid_be, ${kept("p.id", "account", "p.id")})
           from m_account p where p.id = a."parentId"
         ),
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
         select coalesce(json_agg(json_build_object('key', t.min_value::float8::text, 'uuid', t.uuid_be, 'kept', ${kept("t.account_id", "tier", "t.id")})), '[]')
         from m_account_package_tier t where t.account_id = a.id and t.is_active
       ),
       'pics', (
         select coalesce(json_agg(json_build_object('key', p.name, 'uuid', p.uuid_be, 'kept', ${kept("p.account_id", "pic", "p.id")})), '[]')
         from m_account_pic p where p.account_id = a.id and p.is_active
       )
     ) as account
     from m_account a
     left join account_sync.status s on s.account_id = a.id::text
     left join account_sync.account q on q.account_id = s.account_id`,
  );
  return rows.map(({ account }) => account);
}

/** What the queue has left to do for accounts that have no row any more. Their numbers are gone, so they are named by their ids. */
export async function readOrphans(database: Pick<TestDatabase, "query">): Promise<SourceAccount[]> {
  const rows = await database.query<Queued>(
    `select s.account_id as id, s.state, s.error_class as "errorClass", s.error,
       (
         select t.idempotency_key from account_sync.attempt t
         where t.account_id = s.account_id and t.settled_at is null
       ) as "unsettledKey"
     from account_sync.status s
     where s.state <> 'clean' and not exists (select from m_account a where a.id::text = s.account_id)`,
  );
  return rows.map(({ id, ...queued }) => ({
    code: id,
    uuid: null,
    kept: null,
    ...queued,
    isNoted: false,
    payload: null,
    tiers: [],
    pics: [],
  }));
}

type Queued = Pick<SourceAccount, "state" | "errorClass" | "error" | "unsettledKey"> & {
  readonly id: string;
};
