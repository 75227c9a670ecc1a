-- The attempts for these accounts since a given one that have come to an outcome, oldest first.
-- $1 account ids, as the source table writes them   $2 the attempt id
select
  account_id as "accountId",
  generation as "generation",
  outcome as "outcome",
  operation as "operation",
  to_json(finished_at) #>> '{}' as "finishedAt",
  http_status as "httpStatus",
  error_class as "errorClass",
  error as "error",
  sent as "sent",
  received as "received",
  updated as "updated",
  failed as "failed",
  warnings as "warnings"
from account_sync.attempt
where account_id = any ($1::text[]) and attempt_id > $2::bigint and outcome is not null
order by attempt_id
