-- Asks the triggers to NOTIFY for a while.
-- $1 for so many ms
update account_sync.doorbell
set wanted_until = now() + $1 * interval '1 ms'
