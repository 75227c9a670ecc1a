-- Rows that have their ids from another account, as they were moved from there, and the configuration that gave each out.
-- $1 account id   $2 external ids of its rows   $3 ids of these rows
select
  entity as "entity",
  row_id as "id",
  config_id as "configId"
from account_sync.mapped_id
where external_id = any ($2::text[])
  and row_id = any ($3::text[])
  and account_id <> $1
  and entity in ('tier', 'pic')
