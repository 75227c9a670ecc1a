-- Dead replicas whose accounts have been taken over, or a daemon that leaves.
-- $1 replicas
delete from account_sync.replica
where replica_id = any ($1::integer[])
