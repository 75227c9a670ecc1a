-- Adds attempts that sent nothing to the history: unchanged, gone, blocked, not valid.
-- $1 account ids   $2 generations   $3 triggers   $4 outcomes   $5 error classes   $6 errors   $7 updated   $8 failed   $9 durations, ms   $10 warnings
insert into account_sync.attempt
  (account_id, generation, trigger, started_at, finished_at, settled_at, outcome, error_class, error, updated, failed, warnings)
select
  account_id,
  generation,
  trigger,
  clock_timestamp() - duration_ms * interval '1 ms',
  clock_timestamp(),
  clock_timestamp(),
  outcome,
  error_class,
  error,
  updated,
  failed,
  warnings
from unnest($1::text[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::text[], $7::jsonb[], $8::jsonb[], $9::float8[], $10::int[])
  as s (account_id, generation, trigger, outcome, error_class, error, updated, failed, duration_ms, warnings)
