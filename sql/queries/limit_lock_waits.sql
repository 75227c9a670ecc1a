-- For the rest of this transaction, which holds rows of the application: give up on a lock (55P03) rather than wait long for it, and
-- let the server end the session when we fall silent in the middle.
-- $1 lock timeout, ms   $2 silence, ms
select
  set_config('lock_timeout', $1::text, true),
  set_config('idle_in_transaction_session_timeout', $2::text, true)
