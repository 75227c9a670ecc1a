-- Maps the ids that stand on accounts and their rows, as they are. What is mapped already stays.
-- $1 account ids   $2 the default configuration   $3 where it points to   $4 also ids that are mapped to other rows
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
    where id = any ($1)
  ) as a
),
home as (
  select
    chunk.account_id,
    coalesce(sent.config_id, $2::text) as config_id,
    case when coalesce(sent.config_id, $2::text) is not distinct from $2::text then $3::text end as api_url
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
)
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
  and (
    $4::boolean
    or not exists (
      select
      from account_sync.mapped_id m
      where account_sync.comparable_id(m.external_id) = account_sync.comparable_id(standing.external_id)
        and m.entity = standing.entity
        and m.config_id is not distinct from home.config_id
    )
  )
-- In key order, as map_ids does.
order by standing.account_id, standing.entity, standing.row_id
on conflict (account_id, entity, row_id) do nothing
