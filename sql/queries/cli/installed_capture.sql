-- Which parts of account-sync this database has: the schema, and the tables with its triggers.
select
  exists (select from pg_catalog.pg_namespace where nspname = 'account_sync') as "hasSchema",
  array(
    select distinct t.tgrelid::regclass::text
    from pg_catalog.pg_trigger t
    join pg_catalog.pg_proc f on f.oid = t.tgfoid
    join pg_catalog.pg_namespace s on s.oid = f.pronamespace
    join pg_catalog.pg_class c on c.oid = t.tgrelid
    where s.nspname = 'account_sync' and c.relnamespace <> s.oid and not t.tgisinternal and t.tgparentid = 0
    order by 1
  ) as "tables"
