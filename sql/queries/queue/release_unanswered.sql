-- Gives back what was claimed with these tokens, when the answer to the claim was lost: no process works on these accounts.
-- $1 lease tokens   $2 lease, ms
with lost as (
  select account_id
  from account_sync.account
  -- What is due by now, or after the end of the longest lease, may be a million rows each, and is not read.
  where lane = any (enum_range(null::account_sync.lane))
    and due_at > now()
    and due_at <= now() + $2 * interval '1 ms'
    and lease_token = any ($1::uuid[])
),
held as (
  select account_id
  from account_sync.account
  where account_id = any (array(select account_id from lost)) and lease_token = any ($1::uuid[])
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
where a.account_id = any (array(select account_id from held))
