-- The functions of our schema, and their source texts.
select
  p.proname::text as "name",
  array_agg(p.prosrc) as "bodies"
from pg_proc p
join pg_namespace n on n.oid = p.pronamespace
where n.nspname = 'account_sync'
group by p.proname
