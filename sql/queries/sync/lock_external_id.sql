-- Makes those take turns, until their transactions end, that would give one customer's id to different accounts.
-- $1 external id
--
-- Function adopt takes the same lock (sql/migrations/12_decide_over_unfinished_sends.sql).
select pg_advisory_xact_lock(hashtextextended('account_sync external id ' || account_sync.comparable_id($1::text), 0))
