-- Accounts that the queue takes for delivered, in order, with the fingerprint of what was accepted last.
-- $1 after this one   $2 at most so many
--
-- What is pending is on its way already, and what is parked waits for a human.
select
  account_id as "accountId",
  fingerprint as "fingerprint"
from account_sync.account
where account_id > $1 and changed_at is null
order by account_id
limit $2
