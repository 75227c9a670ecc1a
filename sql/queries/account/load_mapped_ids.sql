-- The ids that the API has given out for these accounts and their rows, from our own side, and those of parents.
-- $1 account ids   $2 accounts whose parents' own ids are wanted, too
--
-- Also of rows that are gone: the next command that the API takes leaves them out, and their ids are forgotten then (forget_left_out.sql).
select
  account_id as "accountId",
  entity as "entity",
  row_id as "rowId",
  external_id as "externalId",
  config_id as "configId",
  api_url as "apiUrl"
from account_sync.mapped_id
where account_id = any ($1::text[])
union all
select
  m.account_id,
  m.entity,
  m.row_id,
  m.external_id,
  m.config_id,
  m.api_url
from account_sync.mapped_id m
where m.account_id = any (array(select "parentId"::text from public.m_account where id = any ($2) and "parentId" is not null))
  and m.entity = 'account'
  and m.account_id <> all ($1::text[])
