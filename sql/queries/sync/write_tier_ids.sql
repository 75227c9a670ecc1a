-- Writes external ids to tiers that still belong to the account, stand as they were read, and that no other transaction has locked.
-- $1 tier ids   $2 the same as text   $3 ids to write   $4 ids that were read   $5 users   $6 the accounts they were sent with
with free as (
  select id, id::text as key
  from public.m_account_package_tier
  where id = any ($1)
  for no key update skip locked
)
update public.m_account_package_tier r
set
  uuid_be = w.external_id,
  updated_by = left(w.user_id, 50),
  updated_at = localtimestamp
from free
join unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::text[])
  as w (key, external_id, read_external_id, user_id, account_id) on w.key = free.key
where r.id = free.id and r.account_id::text = w.account_id and case when btrim(r.uuid_be) <> '' then r.uuid_be end is not distinct from w.read_external_id
returning r.id::text as "id"
