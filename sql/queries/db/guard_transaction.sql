-- The settings of a session, for one transaction: behind a pooler the state of a session does not last.
-- $1 statement timeout, ms   $2 lock timeout, ms   $3 idle timeout, ms
--
-- With row_security off hidden rows become an error instead of looking deleted.
select
  set_config('row_security', 'off', true),
  set_config('synchronous_commit', 'on', true),
  set_config('statement_timeout', $1::text, true),
  set_config('lock_timeout', $2::text, true),
  set_config('idle_in_transaction_session_timeout', $3::text, true)
