-- Puts parked accounts back, due at once. A create whose outcome is unknown may be sent again: a person said so.
-- $1 account ids, null for all   $2 error class, null for all
with parked as (
  select account_id
  from account_sync.account
  where parked_at is not null
    and (account_id = any ($1::text[]) or $1 is null)
    and (error_class = $2 or $2 is null)
  order by account_id
  for update
)
update account_sync.account a
set
  parked_at = null,
  due_at = now(),
  attempts = 0,
  error_class = null,
  error = null,
  request = coalesce(a.request, '{}') || '{"retry": true}'
from parked
where a.account_id = parked.account_id
returning a.account_id as "accountId"
