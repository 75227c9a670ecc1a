-- How many accounts neither the queue nor the change table knows: those from before the first migrate.
select count(*)::int as "count"
from public.m_account a
where not exists (select from account_sync.account q where q.account_id = a.id::text)
  and not exists (select from account_sync.change c where c.account_id = a.id::text)
