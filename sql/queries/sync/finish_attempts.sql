-- Ends attempts that were journaled. A settled one gives up its body; an unsettled one is finished by the account's next claim.
-- $1 how they ended, a JSON array
with finished as (
  select *
  from jsonb_to_recordset($1::jsonb) as s (
    "attemptId" bigint,
    outcome text,
    delivery text,
    "httpStatus" int,
    "errorClass" text,
    error text,
    updated jsonb,
    failed jsonb,
    "isSettled" boolean
  )
)
update account_sync.attempt t
set
  finished_at = clock_timestamp(),
  outcome = f.outcome,
  -- An answer that came late, from a worker whose lease was lost, is not forgotten again.
  delivery = case when t.delivery = 'answered' then t.delivery else coalesce(f.delivery, t.delivery) end,
  http_status = coalesce(f."httpStatus", t.http_status),
  error_class = f."errorClass",
  error = f.error,
  updated = f.updated,
  failed = f.failed,
  settled_at = case when f."isSettled" then now() end,
  body = case when not f."isSettled" then t.body end
from finished f
where t.attempt_id = f."attemptId" and t.settled_at is null
