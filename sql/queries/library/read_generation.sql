-- The generation of an account that is under a lease, unless a person asked for it meanwhile.
-- $1 account id
select generation as "generation"
from account_sync.account
where account_id = $1 and next_request is null and next_lane is distinct from 'manual'
