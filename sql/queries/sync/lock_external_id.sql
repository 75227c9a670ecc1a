-- Makes those take turns, until their transactions end, that would give one customer's id to different accounts.
-- $1 external id
--
-- A GUID is the same in either letter case. For other ids, too many that take turns do no harm.
select pg_advisory_xact_lock(hashtextextended('account_sync external id ' || lower($1::text), 0))
