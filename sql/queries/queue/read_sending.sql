-- The living daemons, each with what stops it from sending; one row without a daemon when none lives.
-- $1 lock class   $2 silence, ms   $3 base URL of the default API, null when it is not known
-- $4 a daemon that writes nothing for so long does not answer, ms
-- $5 the daemon that asks, null for a command: it lives, and what stops it is known better than its row can say
-- $6 what stops that one, null for nothing   $7 since how many ms   $8 for how many ms more   $9 the reason
--
-- A daemon lives while it holds its lock, or has renewed within the silence. A take-over (note_lost_replicas) waits longer before it calls
-- one dead, so the two conditions are not one. One that holds the lock and has no row (it went with the schema) lives, too. One of a
-- version that does not say when it was seen counts as one that answers.
with holder as (
  select replica_id
  from account_sync.lock_holders($1)
),
alive as (
  select
    replica_id,
    r.stopped_by,
    r.stopped_since,
    r.stopped_until,
    r.stop_reason,
    case
      when greatest(r.seen_at, r.renewed_at) < now() - $4 * interval '1 ms' and r.seen_at is not null
        then greatest(r.seen_at, r.renewed_at)
    end as silent_since
  from account_sync.replica r
  full join holder h using (replica_id)
  where (h.replica_id is not null or r.renewed_at > now() - $2 * interval '1 ms')
    and replica_id is distinct from $5::integer
  union all
  select
    $5::integer,
    $6::text,
    now() - $7::float8 * interval '1 ms',
    now() + $8::float8 * interval '1 ms',
    $9::text,
    null
  where $5::integer is not null
)
select
  to_json(now()) #>> '{}' as "at",
  current_setting('transaction_read_only')::boolean as "isReadOnly",
  to_json((
    select h.held_until
    from account_sync.api_hold h
    where h.base_url = $3 and h.held_until > now() and h.asked_at <= clock_timestamp()
  )) #>> '{}' as "heldUntil",
  alive.replica_id as "replicaId",
  to_json(alive.silent_since) #>> '{}' as "silentSince",
  alive.stopped_by as "stoppedBy",
  to_json(alive.stopped_since) #>> '{}' as "since",
  to_json(alive.stopped_until) #>> '{}' as "until",
  alive.stop_reason as "reason"
from (values (true)) as always (is_true)
left join alive on always.is_true
order by alive.replica_id
