-- Our role, and what it may do beside the source tables.
select
  r.rolname as "name",
  r.rolsuper as "isSuperuser",
  r.rolcreaterole as "createsRoles",
  r.rolcreatedb as "createsDatabases",
  r.rolreplication as "replicates",
  r.rolbypassrls as "bypassesRowSecurity",
  has_database_privilege(current_database(), 'CREATE') as "createsSchemas",
  has_schema_privilege('public', 'USAGE') as "usesPublic",
  n.oid is not null as "hasSchema"
from pg_roles r
left join pg_namespace n on n.nspname = 'account_sync'
where r.rolname = current_user
