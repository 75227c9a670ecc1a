-- Notes which replicas no longer hold their lock, and returns the others. Dead are those of them that have been lost for longer than the
-- grace and have renewed nothing for longer than the silence: a daemon can lose its lock's session and live.
-- $1 lock class   $2 grace, ms   $3 silence, ms   $4 this replica
--
-- This is stricter than "does not live" in read_sending: a take-over waits for the grace, and for a margin on the silence.
--
-- A server that has just started has no replica's lock yet: for a while no replica is taken for dead then.
with holder as (
  select replica_id
  from account_sync.lock_holders($1)
),
noted as (
  update account_sync.replica r
  set lost_at = case when exists (select from holder h where h.replica_id = r.replica_id) then null else now() end
  where (lost_at is null) <> exists (select from holder h where h.replica_id = r.replica_id)
)
select
  replica_id as "replicaId",
  coalesce(
    lost_at < now() - $2 * interval '1 ms'
      and renewed_at < now() - $3 * interval '1 ms'
      and not exists (select from holder h where h.replica_id = r.replica_id)
      and pg_postmaster_start_time() < now() - interval '5 s',
    false
  ) as "isDead"
from account_sync.replica r
where replica_id <> $4
