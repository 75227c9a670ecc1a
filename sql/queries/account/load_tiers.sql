-- Package tiers. Dates as text: the driver's Date would move by a day in another time zone.
-- $1 account ids   $2 rows of one account at most   $3 bytes of one account at most
--
-- Of an account above these limits one row with its figures is returned, and no tier: its tiers are neither cut off silently nor read.
-- percentage exists in newer databases only: where it does not, the name resolves to the null in "missing".
select
  found.account_id::text as "accountId",
  found.owner_rows::int as "ownerRows",
  found.owner_bytes::float8 as "ownerBytes",
  t.id::text as "id",
  t.min_value::text as "minValue",
  t.max_value::text as "maxValue",
  t.amount::text as "amount",
  to_char(t.start_date, 'YYYY-MM-DD') as "startDate",
  to_char(t.end_date, 'YYYY-MM-DD') as "endDate",
  coalesce(t.percentage, false) as "percentage",
  coalesce(t.is_active, true) as "isActive",
  t.billing_method_id::text as "billingMethodId",
  case when btrim(t.uuid_be) <> '' then t.uuid_be end as "externalId"
from (select null::boolean as percentage) as missing
cross join lateral (
  select
    id,
    account_id,
    min_value,
    max_value,
    amount,
    start_date,
    end_date,
    percentage,
    is_active,
    billing_method_id,
    uuid_be,
    count(*) over owner as owner_rows,
    sum(coalesce(octet_length(uuid_be::text), 0)) over owner as owner_bytes,
    row_number() over owner as position
  from public.m_account_package_tier
  where account_id = any ($1)
  window owner as (partition by account_id)
) as found
left join lateral (select found.*) as t on found.owner_rows <= $2 and found.owner_bytes <= $3
where t.id is not null or found.position = 1
