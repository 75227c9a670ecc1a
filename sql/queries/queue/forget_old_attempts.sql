-- Housekeeping: history beyond its retention, a bounded number of rows at a time. Unsettled attempts stay.
-- $1 days   $2 at most so many
delete from account_sync.attempt
where attempt_id in (
  select attempt_id
  from account_sync.attempt
  where settled_at is not null and started_at < now() - $1 * interval '1 day'
  order by attempt_id
  limit $2
)
