-- A page of accounts in the order of their ids.
-- $1 state, null for all   $2 id the page before ended with, null for the first   $3 at most so many   $4 look at so many at most
--
-- A state that few are in is looked for in bounded steps: the page may be short, or empty, and yet not the last one. There is always
-- a row, which says how far this step has looked.
with examined as (
  select
    account_id,
    state
  from account_sync.status
  where account_id > $2 or $2 is null
  order by account_id
  limit $4
)
select
  step.last_id as "lastExamined",
  step.examined as "examined",
  page.account_id as "account_id",
  page.state as "state",
  to_json(page.changed_at) #>> '{}' as "changed_at",
  to_json(page.due_at) #>> '{}' as "due_at",
  page.attempts as "attempts",
  page.error_class as "error_class",
  page.error as "error",
  to_json(page.last_synced_at) #>> '{}' as "last_synced_at",
  page.explanation as "explanation"
from (
  select
    max(account_id) as last_id,
    count(*)::int as examined
  from examined
) as step
left join lateral (
  -- The explanation is worked out for the rows of the page only.
  select s.*
  from (
    select account_id
    from examined
    where state = $1 or $1 is null
    order by account_id
    limit $3
  ) as found
  join account_sync.status s on s.account_id = found.account_id
) as page on true
order by page.account_id
