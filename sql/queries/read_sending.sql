-- The living daemons, each with what stops it from sending; one row without a daemon when none lives.
-- $1 lock class   $2 silence, ms   $3 base URL of the default API, null when it is not known
--
-- A daemon lives while it holds its lock, or has renewed within the silence. A take-over (note_lost_replicas) waits longer before it calls
-- one dead, so the two conditions are not one. One that holds the lock and has no row (it went with the schema) lives, too.
with holder as (
  select replica_id
  from account_sync.lock_holders($1)
),
alive as (
  select replica_id, r.stopped_by, r.stopped_since, r.stopped_until, r.stop_reason
  from account_sync.replica r
  full join holder h using (replica_id)
  where h.replica_id is not null
    or r.renewed_at > now() - $2 * interval '1 ms'
)
select
  to_json(now()) #>> '{}' as "at",
  to_json((
    select h.held_until
    from account_sync.api_hold h
    where h.base_url = $3 and h.held_until > now()
  )) #>> '{}' as "heldUntil",
  alive.replica_id as "replicaId",
  alive.stopped_by as "stoppedBy",
  to_json(alive.stopped_since) #>> '{}' as "since",
  to_json(alive.stopped_until) #>> '{}' as "until",
  alive.stop_reason as "reason"
from (values (true)) as always (is_true)
left join alive on always.is_true
order by alive.replica_id
