-- The external ids that stand on tiers now, and whose tiers they are.
-- $1 tier ids
select id::text as "id", account_id::text as "accountId", case when btrim(uuid_be) <> '' then uuid_be end as "externalId"
from public.m_account_package_tier
where id = any ($1)
