-- A transaction with this id or a later one has seen the doorbell as it stands: to be asked after the flip has committed.
--
-- An id of our own, and not the end of the snapshot: that is one more than the last id that has ended, and a transaction that read
-- the bell while the flip was committing may run with a later one.
select pg_current_xact_id()::text as "horizon"
