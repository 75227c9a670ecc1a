-- Our role, and what it may do beside the source tables.
select
  r.rolname as "name",
  r.rolsuper as "isSuperuser",
  r.rolcreaterole as "createsRoles",
  r.rolcreatedb as "createsDatabases",
  r.rolreplication as "replicates",
  r.rolbypassrls as "bypassesRowSecurity",
  current_database()::text as "database",
  has_database_privilege(current_database(), 'CREATE') as "createsSchemas",
  has_schema_privilege('public', 'USAGE') as "usesPublic",
  n.oid is not null as "hasSchema",
  coalesce(pg_has_role(n.nspowner, 'USAGE'), false) as "ownsSchema",
  coalesce(has_schema_privilege(n.oid, 'CREATE'), false) as "createsInSchema",
  -- To put a function in the place of another takes its owner.
  array(
    select p.oid::regprocedure::text
    from pg_proc p
    where p.pronamespace = n.oid and not pg_has_role(p.proowner, 'USAGE')
    order by 1
  ) as "foreignFunctions"
from pg_roles r
left join pg_namespace n on n.nspname = 'account_sync'
where r.rolname = current_user
