-- The version of schema account_sync; an error where there is none.
select coalesce(max(id), 0)::int as "version"
from account_sync.migrations
