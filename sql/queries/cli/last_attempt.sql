-- The id of the youngest attempt; 0 when there is none.
select coalesce(max(attempt_id), 0) as "attemptId"
from account_sync.attempt
