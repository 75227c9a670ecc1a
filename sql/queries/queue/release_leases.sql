-- Gives claims back unworked, due at once: a stopped worker is not the account's fault.
-- $1 account ids   $2 their lease tokens
--
-- Each row is looked up by its key, whatever the planner knows: a plan that was made while the table was empty is kept for a million rows.
with held as (
  select a.account_id
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
