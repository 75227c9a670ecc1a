-- Dead replicas whose accounts have been taken over, or a daemon that leaves. One that still has leases stays until they may be taken
-- over; one that has announced itself again stays too.
-- $1 replicas   $2 this replica
delete from account_sync.replica r
where replica_id = any ($1::integer[])
  and (lost_at is not null or replica_id = $2)
  and not exists (
    select from account_sync.account a
    where a.lease_token is not null and a.leased_by = r.replica_id and a.due_at > now()
  )
