-- The source tables of this database: which exist, the type of their key, and which were captured but do not exist any more. The encoding
-- of the database is the same in every row. Asked with every load, so its columns are found by their index.
--
-- A table that was rewritten or truncated (an ALTER TABLE with another type, a column with a default that is computed for each row, TRUNCATE)
-- since the transaction's snapshot was taken looks empty in it: then the storage that is in use is not the one that the snapshot knows. Asked
-- as the last of a snapshot, when the rows have been read and so their tables cannot be rewritten any more.
-- $1 table names
select
  wanted.name as "table",
  c.oid is not null as "exists",
  exists (
    select from pg_attribute a where a.attrelid = c.oid and a.attname = 'branch_uuid_be' and a.attnum > 0
  ) as "hasBranchIds",
  (select format_type(a.atttypid, null) from pg_attribute a where a.attrelid = c.oid and a.attname = 'id' and a.attnum > 0) as "keyType",
  getdatabaseencoding()::text as "encoding",
  case c.relkind
    when 'r' then pg_relation_filenode(c.oid) is distinct from c.relfilenode
    when 'p' then exists (
      select
      from pg_partition_tree(c.oid) tree
      join pg_class part on part.oid = tree.relid
      where tree.isleaf and pg_relation_filenode(part.oid) is distinct from part.relfilenode
    )
    else false
  end as "isRewritten"
from unnest($1::text[]) as wanted (name)
left join pg_class c
  on c.relname = wanted.name
  and c.relnamespace = 'public'::regnamespace
  and c.relkind in ('r', 'p', 'v', 'm', 'f')
where c.oid is not null
  or to_regprocedure(format('account_sync.%I()', 'capture_' || wanted.name || '_insert')) is not null
