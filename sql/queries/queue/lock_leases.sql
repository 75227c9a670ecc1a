-- Locks the rows of accounts whose lease is still ours, for the rest of the transaction: what follows is fenced.
-- $1 account ids   $2 their lease tokens
select a.account_id as "accountId"
from (
  select account_id, lease_token
  from unnest($1::text[], $2::uuid[]) as h (account_id, lease_token)
  order by account_id
) as leased
cross join lateral (
  select a.account_id
  from account_sync.account a
  where a.account_id = leased.account_id and a.lease_token = leased.lease_token
  for update
) as a
