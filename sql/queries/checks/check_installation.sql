-- The state of schema account_sync: the owners of it and of what is in it, the role whose rights the capture triggers use, and whether the
-- first migration was applied. No row where there is no schema. After a restore, or where its ownership was changed only in part, it
-- belongs to other roles; after a restore without its tables, only functions and types exist.
with ours as (
  select
    n.oid,
    n.nspowner
  from pg_namespace n
  where n.nspname = 'account_sync'
),
owned as (
  select 1 as rank, 'schema account_sync' as identity, ours.nspowner as owner from ours
  union all
  select 2, c.oid::regclass::text, c.relowner from pg_class c join ours on ours.oid = c.relnamespace where c.relkind in ('r', 'p', 'v', 'm')
  union all
  select 3, p.oid::regprocedure::text, p.proowner from pg_proc p join ours on ours.oid = p.pronamespace
  union all
  select 4, t.oid::regtype::text, t.typowner from pg_type t join ours on ours.oid = t.typnamespace where t.typtype in ('d', 'e')
),
capture as (
  select distinct p.proowner as owner
  from pg_proc p
  join ours on ours.oid = p.pronamespace
  where p.prosecdef and p.prorettype = 'trigger'::regtype
)
select
  current_user::text as "role",
  pg_get_userbyid(ours.nspowner)::text as "schemaOwner",
  -- Only the owner may change an object or replace a function.
  array(
    select owned.identity
    from owned
    where not pg_has_role(owned.owner, 'USAGE')
    order by owned.rank, owned.identity
  ) as "foreign",
  -- Roles that lack a right that the triggers need.
  array(
    select pg_get_userbyid(capture.owner)::text
    from capture
    where not has_schema_privilege(capture.owner, ours.oid, 'USAGE')
      or exists (
        select
        from pg_class c
        where c.relnamespace = ours.oid
          and (
            (c.relname = 'change' and not has_table_privilege(capture.owner, c.oid, 'INSERT'))
            or (c.relname = 'doorbell' and not has_table_privilege(capture.owner, c.oid, 'SELECT'))
          )
      )
    order by 1
  ) as "powerless",
  exists (select from pg_type t where t.typnamespace = ours.oid and t.typname = 'lane') as "isMigrated"
from ours
