-- Takes one account with a lease, when it is due and nobody has it.
-- $1 account id   $2 lease, ms   $3 lease token   $4 replica
with due as (
  select account_id
  from account_sync.account
  where account_id = $1 and due_at <= now()
  for update skip locked
)
update account_sync.account a
set
  lease_token = $3,
  leased_by = $4,
  due_at = now() + $2 * interval '1 ms',
  -- An expired lease: what arrived during it belongs to the round that now begins.
  lane = least(a.lane, a.next_lane),
  request = coalesce(a.request || a.next_request, a.request, a.next_request),
  next_lane = null,
  next_changed_at = null,
  next_request = null
from due
where a.account_id = due.account_id
returning
  a.account_id as "accountId",
  a.generation as "generation",
  a.lane as "trigger",
  (extract(epoch from now() - a.changed_at) * 1000)::float8 as "pendingMs",
  a.attempts as "attempts",
  left(a.request ->> 'user_id', 50) as "userId",
  left(a.request ->> 'config_id', 100) as "configId",
  coalesce((a.request ->> 'force')::boolean, false) as "force",
  coalesce((a.request ->> 'retry')::boolean, false) as "retry",
  a.fingerprint as "fingerprint",
  a.external_id as "removedExternalId",
  a.lease_token as "leaseToken"
