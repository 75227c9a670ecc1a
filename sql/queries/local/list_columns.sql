-- The columns of a table or view, for the SQL prompt.
-- $1 schema      $2 name
select
  a.attname as "column",
  format_type(a.atttypid, a.atttypmod) as "type",
  case when a.attnotnull then 'not null' else '' end as "null",
  coalesce(pg_get_expr(d.adbin, d.adrelid), '') as "default"
from pg_attribute a
join pg_class c on c.oid = a.attrelid
join pg_namespace n on n.oid = c.relnamespace
left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
where n.nspname = $1::text
  and c.relname = $2::text
  and a.attnum > 0
  and not a.attisdropped
order by a.attnum
