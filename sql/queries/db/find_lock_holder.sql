-- The oldest transaction that holds an advisory lock, or a lock on one of these tables.
-- $1 key of the advisory lock, or null   $2 tables with their schemas, beside those of schema account_sync; or null
--
-- A writer before a reader: most locks are needed to create a trigger, for which readers are not in the way.
with wanted as (
  select p.relid::oid as relation
  from unnest($2::text[]) as named (name)
  cross join lateral pg_partition_tree(to_regclass(named.name)) p
  union
  select to_regclass(named.name)::oid
  from unnest($2::text[]) as named (name)
  union
  select c.oid
  from pg_class c
  join pg_namespace n on n.oid = c.relnamespace
  where n.nspname = 'account_sync' and $2::text[] is not null
)
select
  l.pid as "pid",
  a.usename::text as "role",
  a.application_name as "applicationName",
  a.state as "state",
  to_char(a.xact_start, 'YYYY-MM-DD HH24:MI:SS TZ') as "since"
from pg_locks l
left join pg_stat_activity a on a.pid = l.pid
where l.granted
  and l.pid is distinct from pg_backend_pid()
  and l.database = (select d.oid from pg_database d where d.datname = current_database())
  and (
    (
      l.locktype = 'advisory'
      and l.objsubid = 1
      and ((l.classid::int8 << 32) | l.objid::int8) = $1::int8
    )
    or l.relation in (select w.relation from wanted w)
  )
order by
  l.mode in ('AccessShareLock', 'RowShareLock'),
  a.xact_start nulls last
limit 1
