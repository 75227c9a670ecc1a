-- Owners of captured tables that can read all of these tables, but not all of schema account_sync, so that their dump fails. An owner that
-- may not read every captured table is left out: it could never dump them, and the journal contains data of all of them.
with captured as (
  select
    c.oid,
    c.relowner
  from account_sync.captured_table() planned
  join pg_class c on c.oid = to_regclass('public.' || planned.source_table) and c.relkind in ('r', 'p')
),
relation as (
  select
    c.oid,
    c.relname,
    c.relowner
  from pg_class c
  where c.relnamespace = 'account_sync'::regnamespace and c.relkind in ('r', 'p', 'v', 'm', 'S')
)
select
  r.rolname as "owner",
  array(
    select relation.relname::text
    from relation
    where not has_table_privilege(r.oid, relation.oid, 'SELECT')
    order by relation.relname
  ) as "unreadable",
  -- Only the owner of everything may grant.
  pg_has_role(n.nspowner, 'USAGE') and not exists (select from relation where not pg_has_role(relation.relowner, 'USAGE')) as "mayGrant"
from pg_roles r
cross join pg_namespace n
where n.nspname = 'account_sync'
  and exists (select from captured where captured.relowner = r.oid)
  and not exists (select from captured where not has_table_privilege(r.oid, captured.oid, 'SELECT'))
  and (
    not has_schema_privilege(r.oid, n.oid, 'USAGE')
    or exists (select from relation where not has_table_privilege(r.oid, relation.oid, 'SELECT'))
  )
order by r.rolname
