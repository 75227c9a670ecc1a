-- Gives claims back unworked, due at once: a stopped worker is not the account's fault.
-- $1 account ids   $2 their lease tokens
with held as (
  select a.account_id
  from account_sync.account a
  join unnest($1::text[], $2::uuid[]) as h (account_id, lease_token) on a.account_id = h.account_id
  where a.lease_token = h.lease_token
  order by a.account_id
  for update of a
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
