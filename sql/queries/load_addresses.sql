-- Addresses.
-- $1 account ids
select
  id::text as "id",
  account_id::text as "accountId",
  address1 as "address1",
  address2 as "address2",
  sub_district as "subDistrict",
  city as "city",
  province as "province",
  country as "country",
  postalcode as "postalCode",
  coalesce(is_primary, false) as "isPrimary",
  coalesce(is_active, true) as "isActive",
  to_char(created_at, 'YYYY-MM-DD HH24:MI:SS.US') as "createdAt"
from public.m_account_address
where account_id = any ($1)
