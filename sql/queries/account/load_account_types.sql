-- The names of the types of these accounts.
-- $1 account ids
--
-- Compared as text, since the two columns may be of different types. The table is small.
select id::text as "id", name as "value"
from public.m_account_type
where id::text = any (array(select account_type_id::text from public.m_account where id = any ($1)))
