-- Maps the ids that stand on the next chunk of accounts and their rows, as they are.
-- $1 watermark, null at first   $2 at most so many accounts   $3 the default configuration   $4 where it points to
--
-- An account that was sent before belongs to the configuration that it went to last.
-- branch_uuid_be exists in newer databases only: where m_account has no such column, the name resolves to the null in "missing".
with chunk as (
  select
    a.id,
    a.id::text as account_id,
    a.uuid_be,
    a.branch_uuid_be
  from (select null::text as branch_uuid_be) as missing
  cross join lateral (
    select id, uuid_be, branch_uuid_be
    from public.m_account
    where id > $1 or $1 is null
    order by id
    limit $2
  ) as a
),
home as (
  select
    chunk.account_id,
    coalesce(sent.config_id, $3::text) as config_id,
    case when coalesce(sent.config_id, $3::text) is not distinct from $3::text then $4::text end as api_url
  from chunk
  left join lateral (
    select t.config_id
    from account_sync.attempt t
    where t.account_id = chunk.account_id and t.operation in ('create', 'update') and t.outcome in ('synced', 'partial')
    order by t.attempt_id desc
    limit 1
  ) as sent on true
),
standing as (
  select account_id, 'account' as entity, account_id as row_id, uuid_be as external_id from chunk
  union all
  select account_id, 'branch', account_id, branch_uuid_be from chunk
  union all
  select chunk.account_id, 'tier', t.id::text, t.uuid_be from chunk join public.m_account_package_tier t on t.account_id = chunk.id
  union all
  select chunk.account_id, 'pic', p.id::text, p.uuid_be from chunk join public.m_account_pic p on p.account_id = chunk.id
),
taken_over as (
  insert into account_sync.mapped_id (account_id, entity, row_id, external_id, config_id, api_url)
  select
    standing.account_id,
    standing.entity,
    standing.row_id,
    standing.external_id,
    home.config_id,
    case when standing.entity = 'account' then home.api_url end
  from standing
  join home using (account_id)
  where btrim(standing.external_id) <> ''
  -- In key order, as map_ids does.
  order by standing.account_id, standing.entity, standing.row_id
  on conflict (account_id, entity, row_id) do nothing
)
select account_id as "accountId"
from chunk
order by id
