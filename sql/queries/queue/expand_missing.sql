-- Marks the next chunk of the accounts that lack an external id on themselves, an active tier or an active PIC.
-- $1 watermark, null at first   $2 at most so many   $3 lane   $4 request   $5 changed at
with chunk as (
  select a.id
  from public.m_account a
  where (a.id > $1 or $1 is null)
    and (
      coalesce(btrim(a.uuid_be), '') = ''
      or exists (
        select from public.m_account_package_tier t
        where t.account_id = a.id and t.is_active is not false and coalesce(btrim(t.uuid_be), '') = ''
      )
      or exists (
        select from public.m_account_pic p
        where p.account_id = a.id and p.is_active is not false and coalesce(btrim(p.uuid_be), '') = ''
      )
    )
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
