-- Other accounts that these external ids are mapped to. An account that is gone owns nothing any more.
-- $1 external ids   $2 the account that each was answered to   $3 the configuration that gave each out
with answered as (
  select
    account_sync.comparable_id(external_id) as comparable_id,
    account_id,
    config_id
  from unnest($1::text[], $2::text[], $3::text[]) as a (external_id, account_id, config_id)
),
-- Apart, or has_account would be asked of every account there is.
other as materialized (
  select
    answered.account_id as of_account,
    m.account_id
  from (
    select account_id, external_id, config_id
    from account_sync.mapped_id
    where account_sync.comparable_id(external_id) = any (array(select comparable_id from answered)) and entity = 'account'
  ) m
  join answered
    on account_sync.comparable_id(m.external_id) = answered.comparable_id
    and m.config_id is not distinct from answered.config_id
    and m.account_id <> answered.account_id
)
select
  of_account as "of",
  account_id as "accountId"
from other
where account_sync.has_account(account_id)
