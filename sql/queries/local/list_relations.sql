-- Tables, views and sequences that are not the system's, for the SQL prompt.
-- $1 kinds, as in pg_class      $2 schema, as a pattern of LIKE, or null      $3 name, the same
select
  n.nspname as "schema",
  c.relname as "name",
  case c.relkind
    when 'r' then 'table'
    when 'p' then 'partitioned table'
    when 'v' then 'view'
    when 'm' then 'materialized view'
    when 'f' then 'foreign table'
    when 'S' then 'sequence'
  end as "kind"
from pg_class c
join pg_namespace n on n.oid = c.relnamespace
where c.relkind::text = any ($1::text[])
  and n.nspname !~ '^pg_'
  and n.nspname <> 'information_schema'
  and n.nspname like coalesce($2::text, '%')
  and c.relname like coalesce($3::text, '%')
order by n.nspname, c.relname
