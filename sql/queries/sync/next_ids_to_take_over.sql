-- The next accounts whose ids are taken over.
-- $1 watermark, null at first   $2 at most so many
select id::text as "accountId"
from public.m_account
where id > $1 or $1 is null
order by id
limit $2
