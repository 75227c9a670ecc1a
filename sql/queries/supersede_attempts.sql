-- Ends attempts whose send is repeated or no longer needed; the next attempt carries body and key on. Not one whose answer has come in
-- meanwhile: its ids are to be written first.
-- $1 attempt ids
update account_sync.attempt
set
  settled_at = now(),
  finished_at = coalesce(finished_at, now()),
  outcome = coalesce(outcome, 'retry'),
  body = null
where attempt_id = any ($1::bigint[])
  and settled_at is null
  and delivery is distinct from 'answered'
