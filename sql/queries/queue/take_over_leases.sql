-- Makes the accounts of dead replicas due at once.
-- $1 replicas   $2 silence, ms
--
-- Both have to be old, the lease and the replica's last renewal: an account may be claimed after the renewal, and a renewal passes
-- by an account whose row is locked.
with orphan as (
  select a.account_id
  from account_sync.account a
  join account_sync.replica r on r.replica_id = a.leased_by
  where r.replica_id = any ($1::integer[])
    and r.renewed_at < now() - $2 * interval '1 ms'
    and a.lease_token is not null
    and a.due_at > now()
    and a.due_at - r.lease_ms * interval '1 ms' < now() - $2 * interval '1 ms'
  order by a.account_id
  -- One that is locked (its worker was stopped while it wrote) is taken over by a later look, and holds up no other.
  for update of a skip locked
)
update account_sync.account a
set due_at = now()
from orphan
where a.account_id = orphan.account_id
returning a.account_id as "accountId"
