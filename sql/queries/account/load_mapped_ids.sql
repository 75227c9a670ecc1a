-- The ids that the API has given out for these rows, from our own side.
-- $1 account ids   $2 ids of rows: of accounts, tiers and contact persons
--
-- Only of the rows that there are: an account whose contact persons are replaced every night leaves many behind.
select
  account_id as "accountId",
  entity as "entity",
  row_id as "rowId",
  external_id as "externalId",
  config_id as "configId",
  api_url as "apiUrl"
from account_sync.mapped_id
where account_id = any ($1::text[]) and row_id = any ($2::text[])
