-- Asks for a sync of these accounts now, durably.
-- $1 account ids   $2 user   $3 configuration   $4 forced
select account_sync.request(id, $2::text, $3::text, $4::boolean)
from unnest($1::text[]) as id
