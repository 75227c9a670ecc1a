-- Which of these accounts there are. Fails where the key cannot hold one of the ids.
-- $1 account ids
select id::text as "accountId"
from public.m_account
where id = any ($1)
