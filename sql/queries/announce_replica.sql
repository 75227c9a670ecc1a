-- This daemon is there, in the session that holds its lock.
-- $1 replica
insert into account_sync.replica as r (replica_id)
values ($1)
on conflict (replica_id) do update set lost_at = null
