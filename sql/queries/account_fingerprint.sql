-- The fingerprint of the command last accepted for an account.
-- $1 account id, in any form
select fingerprint as "fingerprint"
from account_sync.account
where account_id = account_sync.canonical_id($1)
