-- Sequences that are behind the rows of their table: after logical replication, or a restore of rows without sequences. Each insert would
-- take an id that is there already, and fail. Made anew at every `migrate`.

-- The identity columns of this schema whose next id is not above all that are there. Also those of later migrations: the catalog names them.
create or replace function account_sync.lagging_identity()
returns table (identity_table text, identity_sequence text, last_id bigint, highest_id bigint)
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
declare
  identity record;
begin
  for identity in
    select
      a.attrelid::regclass::text as relation,
      a.attname as column_name,
      sequence.name as sequence
    from pg_class c
    join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped and a.attidentity <> ''
    cross join lateral (select pg_get_serial_sequence(c.oid::regclass::text, a.attname)) as sequence (name)
    where c.relnamespace = 'account_sync'::regnamespace
      and c.relkind in ('r', 'p')
      and sequence.name is not null
    order by c.relname
  loop
    -- The rows first: ids that are given out in between make the sequence look further ahead, not behind.
    execute format('select max(%I) from %s', identity.column_name, identity.relation) into highest_id;
    execute format('select case when is_called then last_value else last_value - 1 end from %s', identity.sequence) into last_id;
    if highest_id > last_id then
      identity_table := identity.relation;
      identity_sequence := identity.sequence;
      return next;
    end if;
  end loop;
end
$$;

-- Sets one sequence to the highest id of its table, and tells which; to be called until it returns no row.
--
-- One at a time: who holds the locks of two of these tables could wait in a circle with folds and settling workers. While the table is
-- locked no other process is given an id, so a sequence is never set back.
create or replace function account_sync.repair_identity()
returns table (identity_table text, identity_sequence text, last_id bigint, highest_id bigint)
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  lagging record;
begin
  for lagging in select * from account_sync.lagging_identity() loop
    if not has_sequence_privilege(lagging.identity_sequence, 'UPDATE') then
      raise exception 'sequence % is behind its table, and role % may not set it', lagging.identity_sequence, current_user
        using errcode = 'insufficient_privilege',
          hint = 'Run `account-sync migrate` as the owner of schema account_sync, which sets it.';
    end if;

    execute format('lock table %s in share row exclusive mode', lagging.identity_table);
    -- Another process may have been here first.
    select l.*
    into identity_table, identity_sequence, last_id, highest_id
    from account_sync.lagging_identity() l
    where l.identity_table = lagging.identity_table;
    if found then
      perform setval(identity_sequence::regclass, highest_id);
      return next;
      return;
    end if;
  end loop;
end
$$;

revoke all on function account_sync.lagging_identity() from public;
revoke all on function account_sync.repair_identity() from public;
