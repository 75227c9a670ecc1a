-- Whether the parent that an account waits for gets its external id without an operator; no row when there is no such account.
-- $1 the parent's id
--
-- The change table has no index and may be long: a look at its beginning is enough for a parent that was written with its child.
with parent as (
  select id::text as account_id, btrim(uuid_be) <> '' as has_id
  from public.m_account
  where id = $1
)
select
  case
    when parent.has_id then 'on its way'
    when queued.parked_at is not null then 'parked'
    when queued.changed_at is not null
      or exists (
        select
        from (select c.account_id, c.marker from account_sync.change c limit 1000) c
        where c.account_id = parent.account_id or c.marker is not null
      )
      or exists (select from account_sync.expansion)
      then 'on its way'
    else 'not asked for'
  end as "state"
from parent
left join account_sync.account queued on queued.account_id = parent.account_id
