-- Ends attempts that were journaled, with the ids of those whose answer has just come in. A settled one gives up its body; an unsettled one is
-- finished by the account's next claim.
-- $1 how they ended, a JSON array
--
-- The ids of a create that was sent again under the same key may be of another customer than those of the first answer: that is reported.
with finished as (
  select *
  from jsonb_to_recordset($1::jsonb) as s (
    "attemptId" bigint,
    outcome text,
    delivery text,
    received jsonb,
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
  received = coalesce(nullif(f.received, 'null'), t.received),
  http_status = coalesce(f."httpStatus", t.http_status),
  error_class = f."errorClass",
  error = f.error,
  updated = f.updated,
  failed = f.failed,
  settled_at = case when f."isSettled" then now() end,
  body = case when not f."isSettled" then t.body end
from finished f
where t.attempt_id = f."attemptId"
  and t.attempt_id = any (array(select "attemptId" from finished))
  -- Written so that no partial index fits: those of what is not settled are full of entries of what has been since.
  and coalesce(t.settled_at, 'infinity') = 'infinity'
returning
  t.attempt_id as "attemptId",
  t.account_id as "accountId",
  case
    when t.operation = 'create'
      and exists (
        select
        from account_sync.attempt o
        where o.account_id = t.account_id
          and o.attempt_id <> t.attempt_id
          and o.idempotency_key = t.idempotency_key
          and account_sync.comparable_id(o.received ->> 'customer') <> account_sync.comparable_id(f.received ->> 'customer')
      )
      then 'made twice'
  end as "stray"
