-- Adds attempts that sent nothing to the history: unchanged, gone, blocked, not valid.
-- $1 the attempts, a JSON array
insert into account_sync.attempt
  (account_id, generation, trigger, started_at, finished_at, settled_at, outcome, error_class, error, updated, failed, warnings)
select
  "accountId",
  generation,
  trigger,
  clock_timestamp() - "durationMs" * interval '1 ms',
  clock_timestamp(),
  clock_timestamp(),
  outcome,
  "errorClass",
  error,
  updated,
  failed,
  warnings
from jsonb_to_recordset($1::jsonb) as s (
  "accountId" text,
  generation bigint,
  trigger text,
  outcome text,
  "errorClass" text,
  error text,
  updated jsonb,
  failed jsonb,
  "durationMs" float8,
  warnings int
)
