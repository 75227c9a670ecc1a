-- Writes down the ids that came back, before anything is done with them. Commits synchronously.
-- $1 attempt ids   $2 received ids   $3 HTTP statuses
--
-- No lease is asked for: an id once received is never lost, even when another worker has taken over. Nothing writes the ids of a create
-- that was settled by then (a paused process, and a person who had it sent again): somebody has to be told of them.
update account_sync.attempt t
set
  delivery = 'answered',
  received = s.received,
  http_status = s.http_status
from unnest($1::bigint[], $2::jsonb[], $3::int[]) as s (attempt_id, received, http_status)
where t.attempt_id = s.attempt_id
returning
  t.attempt_id as "attemptId",
  t.account_id as "accountId",
  t.settled_at is not null and t.operation = 'create' as "isForgotten"
