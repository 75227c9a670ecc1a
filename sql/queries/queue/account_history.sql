-- The last attempts for one account, newest first.
-- $1 account id, in any form   $2 at most so many
select
  account_id as "account_id",
  to_json(started_at) #>> '{}' as "started_at",
  to_json(finished_at) #>> '{}' as "finished_at",
  trigger as "trigger",
  outcome as "outcome",
  http_status as "http_status",
  error_class as "error_class",
  error as "error",
  updated as "updated",
  failed as "failed",
  warnings as "warnings"
from account_sync.attempt
where account_id = account_sync.canonical_id($1)
order by attempt_id desc
limit $2
