-- What the source tables look like here: which exist, and the type of the account's key.
-- $1 table names
select
  c.relname as "table",
  array_agg(a.attname::text order by a.attnum) as "columns",
  max(format_type(a.atttypid, null)) filter (where a.attname = 'id') as "keyType"
from pg_class c
join pg_namespace s on s.oid = c.relnamespace
join pg_attribute a on a.attrelid = c.oid
where s.nspname = 'public'
  and c.relname = any ($1::text[])
  and c.relkind in ('r', 'p', 'v', 'm', 'f')
  and a.attnum > 0
  and not a.attisdropped
group by c.relname
