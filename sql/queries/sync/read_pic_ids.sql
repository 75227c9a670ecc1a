-- The external ids that stand on PICs now, and whose PICs they are.
-- $1 PIC ids
select id::text as "id", account_id::text as "accountId", case when btrim(uuid_be) <> '' then uuid_be end as "externalId"
from public.m_account_pic
where id = any ($1)
