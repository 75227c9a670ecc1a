-- Moves the end of running leases; an account that does not come back has been taken over by another process.
-- $1 account ids   $2 their lease tokens   $3 lease, ms   $4 this replica
--
-- Waits for no lock: one row that is being settled must not keep the leases of all the others from being renewed. A row that is
-- locked counts as it stands, unless its lease is about to run out: it is due for others the moment the lock is gone.
with held as (
  select account_id, lease_token
  from unnest($1::text[], $2::uuid[]) as h (account_id, lease_token)
),
free as (
  select a.account_id
  from held
  cross join lateral (
    select a.account_id
    from account_sync.account a
    where a.account_id = held.account_id and a.lease_token = held.lease_token
    for update skip locked
  ) as a
),
renewed as (
  update account_sync.account a
  set due_at = now() + $3 * interval '1 ms'
  where a.account_id = any (array(select account_id from free))
),
-- A daemon that renews lives, whichever rows were locked: others take nothing over from it. Also one that had been forgotten, or whose row
-- went with the schema. A command has no number.
alive as (
  insert into account_sync.replica (replica_id, lease_ms)
  select $4::integer, $3::integer
  where $4::integer is not null
  on conflict (replica_id) do update set renewed_at = now()
)
select ours.account_id as "accountId"
from held
cross join lateral (
  select
    a.account_id,
    a.due_at
  from account_sync.account a
  where a.account_id = held.account_id and a.lease_token = held.lease_token
  limit 1
) as ours
where ours.account_id = any (array(select account_id from free))
  or ours.due_at > now() + $3 * interval '0.3 ms'
