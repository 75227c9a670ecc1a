-- A notification that the check's own LISTEN waits for.
-- $1 what to hear
select pg_notify('account_sync_check', $1)
