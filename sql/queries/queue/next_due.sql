-- Milliseconds until the next account falls due, negative when one is overdue, null when none is pending; and up to where nothing is left to
-- be claimed in each lane.
-- $1 to $3 up to where manual, change and backfill have been claimed, in microseconds since 1970   $4 look back so many ms at least
--
-- Searched as in claim_accounts.sql.
select
  (extract(epoch from least(manual.due_at, change.due_at, backfill.due_at) - now()) * 1000)::float8 as "inMs",
  (extract(epoch from least(manual.due_at, now())) * 1000000)::float8 as "manual",
  (extract(epoch from least(change.due_at, now())) * 1000000)::float8 as "change",
  (extract(epoch from least(backfill.due_at, now())) * 1000000)::float8 as "backfill"
from (values (true)) as always (is_true)
left join (
  select due_at
  from account_sync.account
  where lane = 'manual' and due_at >= least('epoch'::timestamptz + $1 * interval '1 us', now() - $4 * interval '1 ms')
  order by due_at
  limit 1
) as manual on true
left join (
  select due_at
  from account_sync.account
  where lane = 'change' and due_at >= least('epoch'::timestamptz + $2 * interval '1 us', now() - $4 * interval '1 ms')
  order by due_at
  limit 1
) as change on true
left join (
  select due_at
  from account_sync.account
  where lane = 'backfill' and due_at >= least('epoch'::timestamptz + $3 * interval '1 us', now() - $4 * interval '1 ms')
  order by due_at
  limit 1
) as backfill on true
