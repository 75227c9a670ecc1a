-- The parent whose external id an account waits for; null when it waits for none.
-- $1 account id, as the source table writes it
select a.blocked_by as "parentId"
from account_sync.account a
where a.account_id = $1
