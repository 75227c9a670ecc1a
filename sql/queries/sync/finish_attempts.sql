-- Ends attempts that were journaled. A settled one gives up its body; an unsettled one is finished by the account's next claim.
-- $1 attempt ids   $2 outcomes   $3 deliveries   $4 HTTP statuses   $5 error classes   $6 errors   $7 updated   $8 failed   $9 settled
update account_sync.attempt t
set
  finished_at = clock_timestamp(),
  outcome = s.outcome,
  -- An answer that came late, from a worker whose lease was lost, is not forgotten again.
  delivery = case when t.delivery = 'answered' then t.delivery else coalesce(s.delivery, t.delivery) end,
  http_status = coalesce(s.http_status, t.http_status),
  error_class = s.error_class,
  error = s.error,
  updated = s.updated,
  failed = s.failed,
  settled_at = case when s.settled then now() end,
  body = case when not s.settled then t.body end
from unnest($1::bigint[], $2::text[], $3::text[], $4::int[], $5::text[], $6::text[], $7::jsonb[], $8::jsonb[], $9::boolean[])
  as s (attempt_id, outcome, delivery, http_status, error_class, error, updated, failed, settled)
where t.attempt_id = s.attempt_id and t.settled_at is null
