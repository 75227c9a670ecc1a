-- Marks the next chunk of all accounts.
-- $1 watermark, null at first   $2 at most so many   $3 lane   $4 request   $5 changed at
with chunk as (
  select id
  from public.m_account
  where id > $1 or $1 is null
  order by id
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
