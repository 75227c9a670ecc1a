-- A page of accounts that are parked, retrying or blocked, in the order of their ids.
-- $1 state   $2 id the page before ended with, null for the first   $3 at most so many
--
-- The states are those of view status, but the condition is that of index account_kept_back, word for word: without it a few accounts are
-- looked for among all of them.
with page as (
  select account_id
  from account_sync.account
  where (error_class is not null or blocked_by is not null)
    and changed_at is not null
    and (account_id > $2 or $2 is null)
    and case
      when parked_at is not null then 'parked'
      when lease_token is not null and due_at > now() then 'running'
      when blocked_by is not null then 'blocked'
      else 'retrying'
    end = $1
  order by account_id
  limit $3
)
select
  s.account_id as "account_id",
  s.state as "state",
  to_json(s.changed_at) #>> '{}' as "changed_at",
  to_json(s.due_at) #>> '{}' as "due_at",
  s.attempts as "attempts",
  s.error_class as "error_class",
  s.error as "error",
  to_json(s.last_synced_at) #>> '{}' as "last_synced_at",
  s.explanation as "explanation"
from page
join account_sync.status s on s.account_id = page.account_id
order by s.account_id
