-- Makes the accounts of dead replicas due at once.
-- $1 replicas
with orphan as (
  select account_id
  from account_sync.account
  where lease_token is not null and leased_by = any ($1::integer[]) and due_at > now()
  order by account_id
  for update
)
update account_sync.account a
set due_at = now()
from orphan
where a.account_id = orphan.account_id
returning a.account_id as "accountId"
