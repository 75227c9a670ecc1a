-- Which of these parents have an external id by now.
-- $1 parents' ids
select id::text as "id"
from public.m_account
where id = any ($1) and btrim(uuid_be) <> ''
