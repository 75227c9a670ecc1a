-- Which of these names are not tables of schema public. A view or a foreign table is none: no trigger can capture its changes.
-- $1 table names
select
  current_database()::text as "database",
  array(
    select required.name
    from unnest($1::text[]) with ordinality as required (name, position)
    where not exists (
      select
      from pg_class c
      where c.oid = to_regclass('public.' || required.name) and c.relkind in ('r', 'p')
    )
    order by required.position
  ) as "missing"
