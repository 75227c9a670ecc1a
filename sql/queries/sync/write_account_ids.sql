-- Writes external ids to accounts that still stand as they were read and that no other transaction has locked. What does not come back was
-- locked or changed meanwhile.
-- $1 account ids   $2 the same as text   $3 ids to write   $4 ids that were read   $5 users
with free as (
  select id, id::text as key
  from public.m_account
  where id = any ($1)
  for no key update skip locked
)
update public.m_account a
set
  uuid_be = w.external_id,
  updated_by = left(w.user_id, 50),
  updated_at = localtimestamp
from free
join unnest($2::text[], $3::text[], $4::text[], $5::text[]) as w (key, external_id, read_external_id, user_id) on w.key = free.key
where a.id = free.id and case when btrim(a.uuid_be) <> '' then a.uuid_be end is not distinct from w.read_external_id
returning a.id::text as "id"
