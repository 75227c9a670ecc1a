-- Takes the first of these accounts with a lease for a caller that brings the data to send: whatever they wait for, unless another
-- process has them.
-- $1 account ids   $2 at most so many   $3 lease, ms   $4 lease token
--
-- A process that dies with the lease leaves a round behind, which a daemon finishes. A row is locked before it is looked at, so that what was
-- pending is known for certain: a change that is folded in between must not pass for sent.
with free as (
  select wanted.account_id
  from unnest($1::text[]) with ordinality as wanted (account_id, position)
  left join lateral (
    select
      a.lease_token,
      a.due_at
    from account_sync.account a
    where a.account_id = wanted.account_id
    limit 1
  ) as a on true
  where a.lease_token is null or a.due_at <= now()
  order by wanted.position
  limit $2
),
before as (
  select
    account_id,
    -- A parked account waits for nothing but a person.
    changed_at is not null and parked_at is null as was_pending
  from account_sync.account
  where account_id = any (array(select account_id from free))
  order by account_id
  for update
),
taken as (
  insert into account_sync.account as a
    (account_id, lane, changed_at, last_changed_at, due_at, lease_token)
  select
    free.account_id,
    'manual',
    now(),
    now(),
    now() + $3 * interval '1 ms',
    $4
  from free
  left join before on before.account_id = free.account_id
  order by free.account_id
  on conflict (account_id) do update set
    lease_token = excluded.lease_token,
    leased_by = null,
    due_at = excluded.due_at,
    lane = case when a.changed_at is null then 'manual' else least(a.lane, a.next_lane) end,
    changed_at = coalesce(a.changed_at, now()),
    last_changed_at = case when a.changed_at is null then now() else a.last_changed_at end,
    -- An expired lease: what arrived during it belongs to the round that now begins.
    request = coalesce(a.request || a.next_request, a.request, a.next_request),
    next_lane = null,
    next_changed_at = null,
    next_request = null,
    parked_at = null,
    -- As in fold_changes: a parked account that is tried again has its tries anew.
    failures_alike = case when a.parked_at is null then a.failures_alike else 0 end,
    blocked_by = null
  where a.lease_token is null or a.due_at <= now()
  returning
    a.account_id,
    a.generation,
    a.attempts,
    a.failures_alike,
    a.failure_kind,
    a.creates_ended,
    a.fingerprint,
    a.lease_token,
    a.xmax = 0 as is_new
)
select
  taken.account_id as "accountId",
  taken.generation as "generation",
  taken.attempts as "attempts",
  taken.failures_alike as "failuresAlike",
  taken.failure_kind as "failureKind",
  taken.creates_ended as "createsEnded",
  taken.fingerprint as "fingerprint",
  taken.lease_token as "leaseToken",
  coalesce(before.was_pending, not taken.is_new) as "wasPending"
from taken
left join before on before.account_id = taken.account_id
