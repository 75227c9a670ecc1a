-- How many accounts neither the queue nor the change table knows, as count_unqueued, up to a number; null while markers for many accounts
-- are on their way, as these may be for them.
-- $1 count at most so many
select case
  when exists (select from account_sync.expansion)
    or exists (select from account_sync.change where marker is not null)
    then null
  else (
    select count(*)::int
    from (
      select
      from public.m_account a
      where not exists (select from account_sync.account q where q.account_id = a.id::text)
        and not exists (select from account_sync.change c where c.account_id = a.id::text)
      limit $1
    ) counted
  )
end as "count"
