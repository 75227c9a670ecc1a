-- Sets a marker aside that cannot be expanded now, so that the others go on: 5 s, doubled with each failure, at most 42 minutes.
-- $1 expansion id   $2 error code
update account_sync.expansion
set
  due_at = now() + interval '5 s' * 2 ^ least(failures, 9),
  failures = failures + 1,
  error = $2
where expansion_id = $1
