-- What was claimed with these tokens, when the answer to the claim was lost: no process works on these accounts.
-- $1 lease tokens   $2 lease, ms
select
  account_id as "accountId",
  lease_token as "leaseToken"
from account_sync.account
-- What is due by now, or after the end of the longest lease, may be a million rows each, and is not read.
where lane = any (enum_range(null::account_sync.lane))
  and due_at > now()
  and due_at <= now() + $2 * interval '1 ms'
  and lease_token = any ($1::uuid[])
