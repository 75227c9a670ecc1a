-- Moves the end of the leases of accounts that are about to be sent, and locks their rows; an account that does not come back has
-- been taken over by another process.
-- $1 account ids   $2 their lease tokens   $3 lease, ms
--
-- From here on it is not known what the API has until it answers: A is accepted, the answer to B is lost, the row is A again; with
-- the fingerprint of A still there this would pass for unchanged. And a person's permission to send a create again, or to give it up, is
-- good for one send: found after a crash, it would send another one that no person has looked at.
with held as (
  select a.account_id
  from account_sync.account a
  join unnest($1::text[], $2::uuid[]) h (account_id, lease_token) on a.account_id = h.account_id
  where a.lease_token = h.lease_token
  order by a.account_id
  for update of a
)
update account_sync.account a
set
  due_at = now() + $3 * interval '1 ms',
  fingerprint = null,
  request = nullif(a.request - 'retry' - 'discard', '{}')
from held
where a.account_id = held.account_id
returning a.account_id as "accountId"
