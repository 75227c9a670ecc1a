-- Ids as the source table writes them.
-- $1 account ids
select account_sync.canonical_id(id) as "accountId"
from unnest($1::text[]) with ordinality as given (id, position)
order by position
