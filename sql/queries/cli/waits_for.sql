-- The parent whose external id an account waits for; null when it does not wait.
-- $1 account id, in the form of the source table
select a.blocked_by as "parentId"
from account_sync.account a
where a.account_id = $1
