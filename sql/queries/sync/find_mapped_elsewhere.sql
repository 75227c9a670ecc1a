-- Other rows that these external ids are mapped to: the row was moved from another account, or two rows have one id.
-- $1 account id   $2 external ids of its rows   $3 what each is the id of: account, branch, tier or pic   $4 ids of these rows
select
  r.row_id as "id",
  r.entity as "entity",
  m.row_id as "otherId",
  m.account_id as "otherAccountId",
  m.external_id as "externalId",
  m.config_id as "configId"
from unnest($2::text[], $3::text[], $4::text[]) as r (external_id, entity, row_id)
join account_sync.mapped_id m on account_sync.comparable_id(m.external_id) = account_sync.comparable_id(r.external_id) and m.entity = r.entity
where m.account_id <> $1 or m.row_id <> r.row_id
