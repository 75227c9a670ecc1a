-- A page of accounts that are parked, retrying or blocked, in the order of their ids.
-- $1 state   $2 id the page before ended with, null for the first   $3 at most so many
--
-- The condition is that of the index account_kept_back, word for word.
select
  page.account_id as "account_id",
  page.state as "state",
  to_json(page.changed_at) #>> '{}' as "changed_at",
  to_json(page.due_at) #>> '{}' as "due_at",
  page.attempts as "attempts",
  page.error_class as "error_class",
  page.error as "error",
  to_json(page.last_synced_at) #>> '{}' as "last_synced_at"
from account_sync.account a
cross join lateral (
  select *
  from account_sync.status s
  where s.account_id = a.account_id
) as page
where (a.error_class is not null or a.blocked_by is not null)
  and (a.account_id > $2 or $2 is null)
  and page.state = $1
order by a.account_id
limit $3
