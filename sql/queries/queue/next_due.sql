-- Milliseconds until the next account falls due, negative when one is overdue, null when none is pending.
select (extract(epoch from least(
  (select min(due_at) from account_sync.account where lane = 'manual' and due_at is not null),
  (select min(due_at) from account_sync.account where lane = 'change' and due_at is not null),
  (select min(due_at) from account_sync.account where lane = 'backfill' and due_at is not null)
) - now()) * 1000)::float8 as "inMs"
