-- Takes due accounts with a lease, lane by lane: a backfill of a million accounts never delays a live edit. Or those of some accounts
-- that are due, by their key: among a million due accounts a search along the lanes would not find them soon.
-- $1 at most so many   $2 lease, ms   $3 lease token   $4 replica   $5 these accounts only (null: any)
-- $6 to $8 up to where the lanes manual, change and backfill have been claimed, in microseconds since 1970   $9 look back so many ms at least
--
-- Each lane is searched from there on only, not from the beginning of the index: while an old snapshot is held (pg_dump), all that was ever
-- claimed since stands there as dead entries, 0.2 us each. src/queue/claimed-up-to.ts says why nothing is overlooked.
--
-- The account itself is loaded by a later statement: in this one it would be read with the snapshot of before the claim, and a
-- claim that re-reads a newer row would pair the new generation with the old data.
with wanted as (
  select a.account_id
  from unnest($5::text[]) as w (account_id)
  cross join lateral (
    select a.account_id
    from account_sync.account a
    -- The key is the only condition that fits an index: no plan reads all that is due.
    where a.account_id = w.account_id and coalesce(a.due_at, 'infinity') <= now()
    for update skip locked
  ) as a
  limit $1
),
manual as (
  select account_id, due_at
  from account_sync.account
  where lane = 'manual'
    and due_at <= now()
    and due_at >= least('epoch'::timestamptz + $6 * interval '1 us', now() - $9 * interval '1 ms')
  order by due_at
  limit case when $5::text[] is null then $1 else 0 end
  for update skip locked
),
change as (
  select account_id, due_at
  from account_sync.account
  where lane = 'change'
    and due_at <= now()
    and due_at >= least('epoch'::timestamptz + $7 * interval '1 us', now() - $9 * interval '1 ms')
  order by due_at
  limit case when $5::text[] is null then greatest($1 - (select count(*) from manual), 0) else 0 end
  for update skip locked
),
backfill as (
  select account_id, due_at
  from account_sync.account
  where lane = 'backfill'
    and due_at <= now()
    and due_at >= least('epoch'::timestamptz + $8 * interval '1 us', now() - $9 * interval '1 ms')
  order by due_at
  limit case when $5::text[] is null then greatest($1 - (select count(*) from manual) - (select count(*) from change), 0) else 0 end
  for update skip locked
),
due as (
  select account_id from wanted
  union all
  select account_id from manual
  union all
  select account_id from change
  union all
  select account_id from backfill
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
-- An array, computed once: when a row turns out to have changed since the snapshot, PostgreSQL runs a joined plan again for it, and
-- the limits above would count anew.
where a.account_id = any (array(select account_id from due))
returning
  a.account_id as "accountId",
  a.generation as "generation",
  a.lane as "trigger",
  (extract(epoch from now() - a.changed_at) * 1000)::float8 as "pendingMs",
  a.attempts as "attempts",
  a.failures_alike as "failuresAlike",
  a.failure_kind as "failureKind",
  a.creates_ended as "createsEnded",
  left(a.request ->> 'user_id', 50) as "userId",
  left(a.request ->> 'config_id', 100) as "configId",
  coalesce((a.request ->> 'force')::boolean, false) as "force",
  coalesce((a.request ->> 'replace')::boolean, false) as "replace",
  coalesce((a.request ->> 'retry')::boolean, false) as "retry",
  coalesce((a.request ->> 'discard')::boolean, false) as "discard",
  a.fingerprint as "fingerprint",
  a.external_id as "removedExternalId",
  a.lease_token as "leaseToken",
  -- Up to where each lane has been claimed by this. Null where nothing was.
  (extract(epoch from (select max(due_at) from manual)) * 1000000)::float8 as "manual",
  (extract(epoch from (select max(due_at) from change)) * 1000000)::float8 as "change",
  (extract(epoch from (select max(due_at) from backfill)) * 1000000)::float8 as "backfill"
