-- The names of account types.
-- $1 account type ids
select id::text as "id", name as "value"
from public.m_account_type
where id = any ($1)
