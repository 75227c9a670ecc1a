-- The ids that the API has given out for these accounts and their rows, from our own side.
-- $1 account ids
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
