-- The source tables as they stand, what our role may do with them, and whether row security hides rows from it.
-- $1 table names
select
  wanted.name as "table",
  c.relkind as "kind",
  -- From the catalog: to_regprocedure fails where our role may not use the schema.
  exists (
    select
    from pg_proc f
    join pg_namespace n on n.oid = f.pronamespace
    where n.nspname = 'account_sync' and f.proname = 'capture_' || wanted.name || '_insert'
  ) as "isCaptured",
  coalesce(pg_has_role(c.relowner, 'USAGE'), false) as "isOurs",
  coalesce(row_security_active(c.oid), false) as "hidesRows",
  coalesce(c.relrowsecurity, false) as "hasRowSecurity",
  coalesce(has_table_privilege(c.oid, 'TRIGGER'), false) as "mayTrigger",
  -- Partitions of before the grant, as a grant on the table does not reach them. One that was added later has its copy of the trigger.
  array(
    select p.relid::regclass::text
    from pg_partition_tree(c.oid) p
    where p.relid <> c.oid
      and not has_table_privilege(p.relid, 'TRIGGER')
      and not exists (
        select
        from pg_trigger t
        join pg_proc f on f.oid = t.tgfoid
        join pg_namespace n on n.oid = f.pronamespace
        where t.tgrelid = p.relid and n.nspname = 'account_sync'
      )
  ) as "partitionsWithoutTrigger",
  array(
    select privilege
    from unnest(array['INSERT', 'DELETE', 'TRUNCATE']) as privilege
    where has_table_privilege(c.oid, privilege)
  ) as "mayAlso",
  coalesce(
    (
      select json_object_agg(
        a.attname,
        json_build_object(
          'type', format_type(a.atttypid, null),
          'maySelect', has_column_privilege(c.oid, a.attnum, 'SELECT'),
          'mayUpdate', has_column_privilege(c.oid, a.attnum, 'UPDATE')
        )
      )
      from pg_attribute a
      where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
    ),
    '{}'
  ) as "columns"
from unnest($1::text[]) with ordinality as wanted (name, position)
left join pg_class c
  on c.relname = wanted.name
  and c.relnamespace = 'public'::regnamespace
  and c.relkind in ('r', 'p', 'v', 'm', 'f')
order by wanted.position
