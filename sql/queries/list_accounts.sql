-- A page of accounts in the order of their ids.
-- $1 state, null for all   $2 the id the page before ended with, null for the first   $3 at most so many
select
  account_id as "account_id",
  state as "state",
  to_json(changed_at) #>> '{}' as "changed_at",
  to_json(due_at) #>> '{}' as "due_at",
  attempts as "attempts",
  error_class as "error_class",
  error as "error",
  to_json(last_synced_at) #>> '{}' as "last_synced_at"
from account_sync.status
where (account_id > $2 or $2 is null) and (state = $1 or $1 is null)
order by account_id
limit $3
