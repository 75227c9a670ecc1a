-- The external ids of the banks of these accounts.
-- $1 account ids
--
-- Compared as text, since the two columns may be of different types. The table is small.
select id::text as "id", uuid_be as "value"
from public.m_bank
where id::text = any (array(select bank_id::text from public.m_account_bank where account_id = any ($1)))
