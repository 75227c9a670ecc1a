-- Writes down which id the API has given to which row. Nothing is written for what is known already.
-- $1 the ids, a JSON array
insert into account_sync.mapped_id as m (account_id, entity, row_id, external_id, config_id, api_url)
select
  "accountId",
  entity,
  id,
  "externalId",
  "configId",
  "apiUrl"
from jsonb_to_recordset($1::jsonb) as s (
  "accountId" text,
  entity text,
  id text,
  "externalId" text,
  "configId" text,
  "apiUrl" text
)
-- In key order, so that two transactions wait for each other instead of deadlocking.
order by "accountId", entity, id
on conflict (account_id, entity, row_id) do update set
  external_id = excluded.external_id,
  config_id = excluded.config_id,
  api_url = excluded.api_url,
  since = now()
where m.external_id <> excluded.external_id
  or m.config_id is distinct from excluded.config_id
