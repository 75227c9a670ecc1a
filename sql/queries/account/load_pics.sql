-- Contact persons. Passwords and portal columns are never read.
-- $1 account ids   $2 rows of one account at most   $3 bytes of one account at most
--
-- Of an account above these limits one row with its figures is returned, and nothing else: see load_tiers.
select
  found.account_id::text as "accountId",
  found.owner_rows::int as "ownerRows",
  found.owner_bytes::float8 as "ownerBytes",
  p.id::text as "id",
  p.name as "name",
  p.phone_no as "phoneNo",
  p.email as "email",
  p.no_ktp as "ktp",
  p.no_npwp as "npwp",
  p.username as "username",
  coalesce(p.is_active, true) as "isActive",
  to_char(p.created_at, 'YYYY-MM-DD HH24:MI:SS.US') as "createdAt",
  case when btrim(p.uuid_be) <> '' then p.uuid_be end as "externalId"
from (
  select
    id,
    account_id,
    name,
    phone_no,
    email,
    no_ktp,
    no_npwp,
    username,
    is_active,
    created_at,
    uuid_be,
    count(*) over owner as owner_rows,
    sum(
      coalesce(octet_length(name::text), 0)
      + coalesce(octet_length(phone_no::text), 0)
      + coalesce(octet_length(email::text), 0)
      + coalesce(octet_length(no_ktp::text), 0)
      + coalesce(octet_length(no_npwp::text), 0)
      + coalesce(octet_length(username::text), 0)
      + coalesce(octet_length(uuid_be::text), 0)
    ) over owner as owner_bytes,
    row_number() over owner as position
  from public.m_account_pic
  where account_id = any ($1)
  window owner as (partition by account_id)
) as found
left join lateral (select found.*) as p on found.owner_rows <= $2 and found.owner_bytes <= $3
where p.id is not null or found.position = 1
