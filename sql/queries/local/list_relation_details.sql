-- Indexes, constraints and triggers of a table, one line each, for the SQL prompt.
-- $1 schema      $2 name
with relation as (
  select c.oid
  from pg_class c
  join pg_namespace n on n.oid = c.relnamespace
  where n.nspname = $1::text and c.relname = $2::text
),
details as (
  select 1 as rank, 'index' as kind, i.indexrelid::regclass::text as name, pg_get_indexdef(i.indexrelid) as definition
  from pg_index i
  join relation on relation.oid = i.indrelid
  union all
  select 2, 'constraint', k.conname, k.conname || ' ' || pg_get_constraintdef(k.oid)
  from pg_constraint k
  join relation on relation.oid = k.conrelid
  where k.contype <> 'n'
  union all
  select 3, 'referenced by', k.conname, k.conrelid::regclass::text || ' ' || pg_get_constraintdef(k.oid)
  from pg_constraint k
  join relation on relation.oid = k.confrelid
  union all
  select 4, 'trigger', t.tgname, pg_get_triggerdef(t.oid)
  from pg_trigger t
  join relation on relation.oid = t.tgrelid
  where not t.tgisinternal
)
select kind as "kind", definition as "definition"
from details
order by rank, name
