-- Gives back what was claimed with these tokens, when the answer to the claim was lost: no process works on these accounts.
-- $1 lease tokens
with held as (
  select account_id
  from account_sync.account
  -- Leased rows are due in the future: what is due already, which may be a million rows, is not read.
  where due_at > now() and lease_token = any ($1::uuid[])
  order by account_id
  for update
)
update account_sync.account a
set
  lease_token = null,
  due_at = now(),
  lane = least(a.lane, a.next_lane),
  request = coalesce(a.request || a.next_request, a.request, a.next_request),
  next_lane = null,
  next_changed_at = null,
  next_request = null
from held
where a.account_id = held.account_id
