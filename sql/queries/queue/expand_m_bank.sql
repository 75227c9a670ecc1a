-- Marks the next chunk of the accounts with a bank account at a changed bank.
-- $1 watermark, null at first   $2 at most so many   $3 lane   $4 request   $5 changed at   $6 bank id
with chunk as (
  select distinct account_id as id
  from public.m_account_bank
  where bank_id = $6
    and account_id is not null
    and (account_id > $1 or $1 is null)
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
