-- Asks for a sync of these accounts now that replaces the ids that stand, durably.
-- $1 account ids   $2 user   $3 configuration
select account_sync.request(id, true, $2::text, $3::text)
from unnest($1::text[]) as id
