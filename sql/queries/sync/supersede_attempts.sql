-- Ends attempts whose send is repeated or no longer needed; the next attempt carries body and key on. Not one whose answer has come in
-- meanwhile: its ids are to be written first.
-- $1 attempt ids   $2 even one that is answered: its account is gone, and so are the rows its ids were for
update account_sync.attempt
set
  settled_at = now(),
  finished_at = coalesce(finished_at, now()),
  outcome = coalesce(outcome, 'retry'),
  error = case
    when outcome is null and error is null
      then 'cut off before an outcome was recorded: its daemon is gone, or no longer had the account'
    else error
  end,
  body = null
from unnest($1::bigint[], $2::boolean[]) as s (attempt_id, of_removed)
where attempt.attempt_id = s.attempt_id
  and attempt.attempt_id = any ($1::bigint[])
  -- As in finish_attempts: in a form that the index of the unsettled ones does not fit.
  and coalesce(attempt.settled_at, 'infinity') = 'infinity'
  and (attempt.delivery is distinct from 'answered' or s.of_removed)
