-- The source tables of this database: which exist, the type of their key, and which were captured but do not exist any more. The encoding
-- of the database is the same in every row. Asked with every load, so its columns are found by their index.
-- $1 table names
select
  wanted.name as "table",
  c.oid is not null as "exists",
  exists (
    select from pg_attribute a where a.attrelid = c.oid and a.attname = 'branch_uuid_be' and a.attnum > 0
  ) as "hasBranchIds",
  (select format_type(a.atttypid, null) from pg_attribute a where a.attrelid = c.oid and a.attname = 'id' and a.attnum > 0) as "keyType",
  getdatabaseencoding()::text as "encoding",
  coalesce(c.relkind in ('r', 'p', 'v'), false) as "isLockable"
from unnest($1::text[]) as wanted (name)
left join pg_class c
  on c.relname = wanted.name
  and c.relnamespace = 'public'::regnamespace
  and c.relkind in ('r', 'p', 'v', 'm', 'f')
where c.oid is not null
  or to_regprocedure(format('account_sync.%I()', 'capture_' || wanted.name || '_insert')) is not null
