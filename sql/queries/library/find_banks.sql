-- The external ids of banks.
-- $1 bank ids
select id::text as "id", uuid_be as "value"
from public.m_bank
where id = any ($1)
