-- Package tiers. Dates as text: a Date of the driver's would move by a day in another time zone.
-- $1 account ids
--
-- percentage exists in newer databases only: where it does not, the name means the null beside it.
select
  t.id::text as "id",
  t.account_id::text as "accountId",
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
    uuid_be
  from public.m_account_package_tier
  where account_id = any ($1)
) as t
