-- Makes those take turns, until their transactions end, that would give one customer's id to different accounts.
-- $1 external id
select pg_advisory_xact_lock(hashtextextended('account_sync external id ' || $1::text, 0))
