-- Other accounts that these external ids belong to: they are mapped to them, stand on their rows, or were answered to them and are about to be
-- written.
-- $1 external ids   $2 the account of each that has it, or would get it   $3 the configuration that gave each out
-- $4 whether ids count that stand on rows without being mapped, as an operator has written them
--
-- uuid_be has no index, so with $4, and until all ids that stood there before are taken over, this reads all of m_account, once for all of
-- them. An account that is gone owns nothing any more.
with wanted as (
  select
    account_sync.comparable_id(external_id) as comparable_id,
    lower(external_id) as lower_id,
    account_id,
    config_id
  from unnest($1::text[], $2::text[], $3::text[]) as w (external_id, account_id, config_id)
)
select
  wanted.account_id as "of",
  m.account_id as "accountId"
from account_sync.mapped_id m
join wanted on account_sync.comparable_id(m.external_id) = wanted.comparable_id and wanted.config_id is not distinct from m.config_id
where m.entity = 'account'
  and m.account_id <> wanted.account_id
  and account_sync.has_account(m.account_id)
union all
select
  wanted.account_id,
  t.account_id
from account_sync.attempt t
join wanted on account_sync.comparable_id(t.received ->> 'customer') = wanted.comparable_id
where t.settled_at is null
  and t.delivery = 'answered'
  and t.account_id <> wanted.account_id
  and t.config_id is not distinct from wanted.config_id
union all
select
  wanted.account_id,
  a.id::text
from public.m_account a
join wanted on lower(a.uuid_be) = wanted.lower_id and account_sync.comparable_id(a.uuid_be) = wanted.comparable_id
where ($4::boolean or not exists (select from account_sync.id_takeover where finished_at is not null))
  and a.id::text <> wanted.account_id
  -- Of another API the same id is another customer.
  and not exists (
    select
    from account_sync.mapped_id m
    where m.account_id = a.id::text and m.entity = 'account' and m.config_id is distinct from wanted.config_id
  )
