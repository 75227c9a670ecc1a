-- Other accounts that these external ids are mapped to. An account that is gone owns nothing any more.
-- $1 external ids   $2 the account that each was answered to   $3 the configuration that gave each out
with answered as (
  select
    account_sync.comparable_id(external_id) as comparable_id,
    account_id,
    config_id
  from unnest($1::text[], $2::text[], $3::text[]) as a (external_id, account_id, config_id)
)
select
  answered.account_id as "of",
  m.account_id as "accountId"
from answered
-- By their ids, whatever the planner knows: the look into m_account is dear, and only for those that are found.
cross join lateral (
  select
    m.account_id,
    m.entity,
    m.config_id
  from account_sync.mapped_id m
  where account_sync.comparable_id(m.external_id) = answered.comparable_id
  offset 0
) as m
where m.entity = 'account'
  and m.config_id is not distinct from answered.config_id
  and m.account_id <> answered.account_id
  and account_sync.has_account(m.account_id)
