-- What a session would have from its start, told to one transaction: behind a pooler session state means nothing.
-- $1 statement timeout, ms   $2 lock timeout, ms   $3 silence, ms
--
-- With row_security off hidden rows become an error instead of looking deleted.
select
  set_config('row_security', 'off', true),
  set_config('synchronous_commit', 'on', true),
  set_config('statement_timeout', $1::text, true),
  set_config('lock_timeout', $2::text, true),
  set_config('idle_in_transaction_session_timeout', $3::text, true)
