-- Turns NOTIFY payloads into durable requests, once over all replicas: the first replica to hear one answers it; a repetition
-- heard by the same replica is a new wish.
-- $1 notifier backend pids   $2 payload hashes   $3 account ids   $4 users   $5 configs   $6 forced   $7 this replica
--
-- Five seconds is far beyond how far apart two live replicas hear the same notification.
with notification as (
  select distinct on (notifier_pid, payload_hash) *
  from unnest($1::int[], $2::text[], $3::text[], $4::text[], $5::text[], $6::boolean[])
    as n (notifier_pid, payload_hash, account_id, user_id, config_id, force)
  order by notifier_pid, payload_hash
),
first_heard as (
  insert into account_sync.heard as h (notifier_pid, payload_hash, replica_id)
  select notifier_pid, payload_hash, $7::integer
  from notification
  order by notifier_pid, payload_hash
  on conflict (notifier_pid, payload_hash) do update set
    replica_id = excluded.replica_id,
    heard_at = excluded.heard_at
  where h.replica_id = excluded.replica_id or h.heard_at < clock_timestamp() - interval '5 s'
  returning notifier_pid, payload_hash
)
select
  case
    when n.account_id is null then account_sync.request_all(n.user_id, n.config_id)
    else account_sync.request(n.account_id, n.user_id, n.config_id, n.force)
  end
from notification n
join first_heard f using (notifier_pid, payload_hash)
