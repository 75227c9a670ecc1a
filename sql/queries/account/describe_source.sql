-- The source tables of this database: which exist, their columns, the type of their key, and which were captured but do not exist any
-- more. The encoding of the database is the same in every row.
-- $1 table names
select
  wanted.name as "table",
  c.oid is not null as "exists",
  array_agg(a.attname::text order by a.attnum) as "columns",
  max(format_type(a.atttypid, null)) filter (where a.attname = 'id') as "keyType",
  getdatabaseencoding()::text as "encoding"
from unnest($1::text[]) as wanted (name)
left join pg_class c
  on c.relname = wanted.name
  and c.relnamespace = 'public'::regnamespace
  and c.relkind in ('r', 'p', 'v', 'm', 'f')
left join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
group by wanted.name, c.oid
having c.oid is not null
  or to_regprocedure(format('account_sync.%I()', 'capture_' || wanted.name || '_insert')) is not null
