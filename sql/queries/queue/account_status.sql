-- One account's state.
-- $1 account id, in any form
select
  account_id as "account_id",
  state as "state",
  to_json(changed_at) #>> '{}' as "changed_at",
  to_json(due_at) #>> '{}' as "due_at",
  attempts as "attempts",
  error_class as "error_class",
  error as "error",
  to_json(last_synced_at) #>> '{}' as "last_synced_at",
  explanation as "explanation"
from account_sync.status
where account_id = account_sync.canonical_id($1)
