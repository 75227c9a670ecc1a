-- The configuration that an account was sent to last, with success: for an id that is not taken over into the mapping yet.
-- $1 account id
select
  config_id as "configId",
  sent #>> '{sentTo,apiUrl}' as "apiUrl"
from account_sync.attempt
where account_id = $1 and operation in ('create', 'update') and outcome in ('synced', 'partial')
order by attempt_id desc
limit 1
