-- Makes the accounts due that were waiting for these parents.
-- $1 parents' ids
with child as (
  select account_id
  from account_sync.account
  where blocked_by = any ($1::text[]) and lease_token is null
  order by account_id
  for update
)
update account_sync.account a
set due_at = now()
where a.account_id = any (array(select account_id from child))
