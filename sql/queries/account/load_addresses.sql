-- Addresses.
-- $1 account ids   $2 rows of one account at most   $3 bytes of one account at most
--
-- Of an account above these limits one row with its figures is returned, and nothing else: see load_tiers.
select
  found.account_id::text as "accountId",
  found.owner_rows::int as "ownerRows",
  found.owner_bytes::float8 as "ownerBytes",
  a.id::text as "id",
  a.address1 as "address1",
  a.address2 as "address2",
  a.sub_district as "subDistrict",
  a.city as "city",
  a.province as "province",
  a.country as "country",
  a.postalcode as "postalCode",
  coalesce(a.is_primary, false) as "isPrimary",
  coalesce(a.is_active, true) as "isActive",
  to_char(a.created_at, 'YYYY-MM-DD HH24:MI:SS.US') as "createdAt"
from (
  select
    id,
    account_id,
    address1,
    address2,
    sub_district,
    city,
    province,
    country,
    postalcode,
    is_primary,
    is_active,
    created_at,
    count(*) over owner as owner_rows,
    sum(
      coalesce(octet_length(address1::text), 0)
      + coalesce(octet_length(address2::text), 0)
      + coalesce(octet_length(sub_district::text), 0)
      + coalesce(octet_length(city::text), 0)
      + coalesce(octet_length(province::text), 0)
      + coalesce(octet_length(country::text), 0)
      + coalesce(octet_length(postalcode::text), 0)
    ) over owner as owner_bytes,
    row_number() over owner as position
  from public.m_account_address
  where account_id = any ($1)
  window owner as (partition by account_id)
) as found
left join lateral (select found.*) as a on found.owner_rows <= $2 and found.owner_bytes <= $3
where a.id is not null or found.position = 1
