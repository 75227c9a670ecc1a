-- For the rest of this transaction, which holds rows of the application: give up on a lock (55P03) rather than wait long for it.
-- $1 lock timeout, ms
select
  set_config('lock_timeout', $1::text, true)
