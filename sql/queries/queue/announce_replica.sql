-- This daemon is there, in the session that holds its lock.
-- $1 replica   $2 the length of its leases, ms
insert into account_sync.replica as r (replica_id, lease_ms, seen_at)
values ($1, $2, now())
on conflict (replica_id) do update set lost_at = null, seen_at = excluded.seen_at
