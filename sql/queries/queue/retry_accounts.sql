-- Puts parked accounts back, due at once (account_sync.revive).
-- $1 account ids, null for all   $2 error class, null for all   $3 whether unfinished sends are given up, also of accounts that retry
select account_id as "accountId"
from account_sync.revive($1::text[], $2::text, $3::boolean) as account_id
