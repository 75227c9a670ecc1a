-- Sets a marker aside that cannot be expanded now, so that the others go on, for a time that doubles with each failure.
-- $1 expansion id   $2 error code   $3 first wait, ms   $4 longest wait, ms   $5 marker: with all of its kind that are due; null for this one alone
with postponed as (
  select
    expansion_id,
    failures
  from account_sync.expansion
  where expansion_id = $1 or (marker = $5 and due_at <= now())
  order by expansion_id
  for update skip locked
),
wait as (
  select least($4::float8, $3::float8 * 2 ^ least(max(failures), 30)) as ms
  from postponed
)
update account_sync.expansion e
set
  due_at = now() + wait.ms * interval '1 ms',
  failures = e.failures + 1,
  error = $2
from postponed
cross join wait
where e.expansion_id = postponed.expansion_id
returning wait.ms as "waitMs"
