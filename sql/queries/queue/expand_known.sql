-- Marks the next chunk of the accounts the queue knows: a source table was truncated.
-- $1 watermark, null at first   $2 at most so many   $3 lane   $4 request   $5 changed at
with chunk as (
  select account_id as id
  from account_sync.account
  where account_id > $1 or $1 is null
  order by account_id
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
