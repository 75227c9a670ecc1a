-- For the rest of this transaction: give up on a lock (55P03) rather than wait long for it.
-- $1 ms
select set_config('lock_timeout', $1::text, true)
