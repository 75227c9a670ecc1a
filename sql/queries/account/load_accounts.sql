-- Accounts with their parents' external ids.
-- $1 account ids; PostgreSQL infers the key's type, so there is no cast of the key that would keep the index from being used
-- $2 rows of an account at most: it has one   $3 bytes of an account at most; of a larger one only the id and the bytes are returned
--
-- A blank external id is returned as null.
-- branch_uuid_be exists in newer databases only: where m_account has no such column, the name resolves to the null in "missing".
select
  found.id::text as "accountId",
  found.owner_rows as "ownerRows",
  found.bytes::float8 as "ownerBytes",
  a.id::text as "id",
  a.account_no as "accountNo",
  a.name as "name",
  a.phone_no as "phoneNo",
  a.email as "email",
  a.account_type_id::text as "typeId",
  coalesce(a.is_active, true) as "isActive",
  a.no_ktp as "ktp",
  a.no_npwp as "npwp",
  case when btrim(a.uuid_be) <> '' then a.uuid_be end as "externalId",
  case when btrim(a.branch_uuid_be) <> '' then a.branch_uuid_be end as "branchExternalId",
  a."parentId"::text as "parentId",
  case when btrim(parent.uuid_be) <> '' then parent.uuid_be end as "parentExternalId"
from (select null::text as branch_uuid_be) as missing
cross join lateral (
  select
    1 as owner_rows,
    id,
    account_no,
    name,
    phone_no,
    email,
    account_type_id,
    is_active,
    no_ktp,
    no_npwp,
    uuid_be,
    branch_uuid_be,
    "parentId",
    coalesce(octet_length(account_no::text), 0)
      + coalesce(octet_length(name::text), 0)
      + coalesce(octet_length(phone_no::text), 0)
      + coalesce(octet_length(email::text), 0)
      + coalesce(octet_length(no_ktp::text), 0)
      + coalesce(octet_length(no_npwp::text), 0)
      + coalesce(octet_length(uuid_be::text), 0)
      + coalesce(octet_length(branch_uuid_be::text), 0) as bytes
  from public.m_account
  where id = any ($1)
) as found
left join lateral (select found.*) as a on found.owner_rows <= $2 and found.bytes <= $3
left join public.m_account as parent on parent.id = a."parentId"
