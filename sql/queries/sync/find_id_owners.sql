-- Other accounts that these external ids stand on, or that they were answered to and are about to be written to.
-- $1 external ids   $2 the account of each that has it, or would get it
--
-- uuid_be has no index, so this reads all of m_account, once for all of them: for a create whose answer never came, for an account that
-- was removed, and for no other.
-- Ids are the same as in src/customer-command/same-id.ts: a GUID in either letter case, any other id only to the last character.
with wanted as (
  select
    external_id,
    account_id,
    external_id ~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' as is_guid
  from unnest($1::text[], $2::text[]) as w (external_id, account_id)
)
select
  wanted.account_id as "of",
  a.id::text as "accountId"
from public.m_account a
join wanted
  on lower(wanted.external_id) = lower(a.uuid_be)
  and (wanted.is_guid or wanted.external_id = a.uuid_be)
where a.id::text <> wanted.account_id
union all
select
  wanted.account_id,
  t.account_id
from account_sync.attempt t
join wanted
  on lower(wanted.external_id) = lower(t.received ->> 'customer')
  and (wanted.is_guid or wanted.external_id = t.received ->> 'customer')
where t.settled_at is null and t.delivery = 'answered' and t.account_id <> wanted.account_id
