-- Forgets the ids of rows that were gone when the API took a command without them: it has dropped them, and what comes back under the same
-- key is added anew.
-- $1 the ids, a JSON array
delete from account_sync.mapped_id m
using jsonb_to_recordset($1::jsonb) as s ("accountId" text, entity text, id text, "externalId" text)
where m.account_id = s."accountId"
  and m.entity = s.entity
  and m.row_id = s.id
  and m.external_id = s."externalId"
