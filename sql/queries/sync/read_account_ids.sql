-- The external ids that stand on accounts now.
-- $1 account ids
select
  a.id::text as "id",
  case when btrim(a.uuid_be) <> '' then a.uuid_be end as "externalId",
  case when btrim(a.branch_uuid_be) <> '' then a.branch_uuid_be end as "branchExternalId"
from (select null::text as branch_uuid_be) as missing
cross join lateral (
  select id, uuid_be, branch_uuid_be
  from public.m_account
  where id = any ($1)
) as a
