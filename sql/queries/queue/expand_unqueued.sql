-- Marks the next chunk of the accounts that the queue does not know: those from before the first migrate.
-- $1 watermark, null at first   $2 at most so many   $3 lane   $4 request   $5 changed at
with chunk as (
  select a.id
  from public.m_account a
  where (a.id > $1 or $1 is null)
    and not exists (select from account_sync.account q where q.account_id = a.id::text)
  order by a.id
  limit $2
),
marked as (
  insert into account_sync.change (account_id, lane, request, changed_at)
  select id::text, $3::account_sync.lane, $4::jsonb, $5::timestamptz
  from chunk
)
select id::text as "accountId"
from chunk
order by id
