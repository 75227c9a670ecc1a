-- Locks the rows of accounts whose lease is still ours, for the rest of the transaction: what follows is fenced.
-- $1 account ids   $2 their lease tokens
select a.account_id as "accountId"
from account_sync.account a
join unnest($1::text[], $2::uuid[]) held (account_id, lease_token) on a.account_id = held.account_id
where a.lease_token = held.lease_token
order by a.account_id
for update of a
