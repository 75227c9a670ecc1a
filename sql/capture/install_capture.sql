-- Puts the capture triggers on one source table, as the table stands now. Run again at every `migrate`: columns come and go.
--
-- Statement triggers with transition tables; a partitioned table gets row triggers, since a statement aimed at a partition
-- does not fire the parent's. Triggers that are there already are left alone, so that repeating takes no lock on the table;
-- the caller sets lock_timeout and retries.
--
-- To be read in this order, which is not the file's, as PostgreSQL wants the parts before a function in SQL that calls them:
--
--   install_capture   makes a function and a trigger for each row of the plan
--   capture_plan      a row for each event of one table, with the text of the function: probe whether everything fits, append, ring
--   capture_queries   the queries that append, for one event of one table
--   captured_table    which tables and columns
--   row_differs, comparable_column, column_as_text, stored_columns   how the queries read the columns
--
-- Every function that runs with our rights has search_path = pg_catalog, pg_temp: with an empty one, PostgreSQL looks for types in
-- the caller's temporary schema first, and a domain pg_temp.text would run its author's checks with our rights.

-- Functions that had another name or other parameters in the version before, and cannot be replaced.
drop function if exists account_sync.column_as_text(text, text, boolean);
drop function if exists account_sync.capture_query(regclass, text, text[], text, boolean, boolean);

-- The doorbell as the triggers read it: until when they shall NOTIFY, in milliseconds since 1970. It follows the row of the table at each
-- commit. A row leaves a version behind with every update, and while an old snapshot is held (a dump of the database) none of them goes away:
-- after 181,000 updates reading the row took 1.1 ms, in every captured statement, for good. A sequence is changed in its place, and read as it
-- is now, also by a transaction that works with an old snapshot.
create or replace function account_sync.move_doorbell() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
  perform setval(
    'account_sync.doorbell_until',
    case new.wanted_until
      when '-infinity' then 0
      when 'infinity' then 9223372036854775807
      else greatest(0, date_part('epoch', new.wanted_until) * 1000)::bigint
    end
  );
  return null;
end
$$;

do $$
begin
  -- After a restore of half a schema the table is away, which doctor reports.
  if to_regclass('account_sync.doorbell') is not null and to_regclass('account_sync.doorbell_until') is null then
    create sequence account_sync.doorbell_until minvalue 0 start 0 owned by account_sync.doorbell.singleton;
    drop trigger if exists doorbell_moves on account_sync.doorbell;
    create constraint trigger doorbell_moves
    after insert or update on account_sync.doorbell
    deferrable initially deferred
    for each row execute function account_sync.move_doorbell();
    update account_sync.doorbell set wanted_until = wanted_until;
  end if;
end
$$;

-- Another text for every plan that it becomes a constant of: see capture_plan.
create or replace function account_sync.plan_nonce(source_table regclass, change_table regclass, doorbell regclass) returns text
language sql immutable set search_path = pg_catalog, pg_temp
as $$
  select gen_random_uuid()::text
$$;

-- What counts as a change. uuid_be, branch_uuid_be and the audit columns are missing on purpose: that is the echo guard. Passwords
-- and portal columns are never read.
create or replace function account_sync.captured_table()
returns table (source_table text, owner_column text, payload_columns text[], dependent_table text, dependent_column text)
language sql immutable set search_path = pg_catalog, pg_temp
as $$
  values
    ('m_account', 'id', array['name', 'email', 'phone_no', 'no_ktp', 'no_npwp', 'account_no', 'account_type_id', 'parentId', 'is_active'], null, null),
    ('m_account_package_tier', 'account_id', array['account_id', 'min_value', 'max_value', 'amount', 'start_date', 'end_date', 'percentage', 'is_active', 'billing_method_id'], null, null),
    ('m_account_pic', 'account_id', array['account_id', 'name', 'phone_no', 'email', 'no_ktp', 'no_npwp', 'username', 'is_active'], null, null),
    ('m_account_address', 'account_id', array['account_id', 'address1', 'address2', 'sub_district', 'city', 'province', 'country', 'postalcode', 'is_primary', 'is_active'], null, null),
    ('m_account_bank', 'account_id', array['account_id', 'bank_id', 'bank_account_no', 'bank_account_holder_name', 'bank_account_holder_firstname', 'bank_account_holder_lastname', 'is_active'], null, null),
    -- Rows that many accounts depend on: no owner, one marker for the fold to expand along dependent_column. Of a bank only its
    -- external id is sent.
    ('m_bank', null, array['uuid_be'], 'm_account_bank', 'bank_id'),
    ('m_account_type', null, array['name'], 'm_account', 'account_type_id'),
    ('m_account_billing_method', null, array['method'], 'm_account_package_tier', 'billing_method_id')
$$;

-- Whether a table has the trigger of its plan, exactly: a condition or a list of columns would make it miss changes.
create or replace function account_sync.has_trigger(
  relation regclass,
  trigger_type smallint,
  trigger_name text,
  old_rows name,
  new_rows name,
  function_name text
) returns boolean
language sql stable set search_path = pg_catalog, pg_temp
as $$
  select exists (
    select
    from pg_trigger t
    where t.tgrelid = relation
      and t.tgname = trigger_name
      and t.tgtype = trigger_type
      and t.tgfoid = to_regprocedure(format('account_sync.%I()', function_name))
      and t.tgoldtable is not distinct from old_rows
      and t.tgnewtable is not distinct from new_rows
      and t.tgqual is null
      and t.tgattr::text = ''
      and t.tgconstraint = 0
      and t.tgparentid = 0
  )
$$;

create or replace function account_sync.install_capture(wanted_table text) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $install$
declare
  captured record;
  missing_columns text;
  planned record;
  is_row_trigger boolean;
  is_installed boolean;
begin
  if not exists (select from pg_class c where c.oid = to_regclass('public.' || wanted_table) and c.relkind in ('r', 'p')) then
    return;
  end if;

  select * into strict captured from account_sync.captured_table() t where t.source_table = wanted_table;

  if not exists (select from account_sync.capture_plan(wanted_table)) then
    perform account_sync.remove_capture(wanted_table);
    return;
  end if;

  select string_agg(needed, ', ')
  into missing_columns
  from unnest(array['id', captured.owner_column, case when wanted_table = 'm_account' then 'uuid_be' end]) needed
  where needed is not null and not account_sync.has_column(wanted_table, needed);
  if missing_columns is not null then
    raise exception 'table % has no column %', to_regclass('public.' || wanted_table), missing_columns using errcode = 'undefined_column';
  end if;

  for planned in select * from account_sync.capture_plan(wanted_table) loop
    is_row_trigger := planned.trigger_type & 1 = 1;
    is_installed := account_sync.has_trigger(
      planned.relation, planned.trigger_type, planned.trigger_name, planned.old_rows, planned.new_rows, planned.function_name
    );

    if not is_installed then
      -- By the function, not by the trigger: dropping a trigger is for the table's owner, and TRIGGER has to be enough.
      execute format('drop function if exists account_sync.%I() cascade', planned.function_name);
    end if;

    execute format(
      'create or replace function account_sync.%I() returns trigger
       language plpgsql security definer set search_path = pg_catalog, pg_temp as %L',
      planned.function_name,
      planned.function_body
    );
    execute format('revoke all on function account_sync.%I() from public', planned.function_name);
    if is_row_trigger then
      -- A partition that is made or attached gets a copy of the trigger, for which the table's owner needs the right to its function. A
      -- trigger's function does nothing when it is called otherwise.
      execute format(
        'grant execute on function account_sync.%I() to %s',
        planned.function_name,
        (select c.relowner::regrole from pg_class c where c.oid = planned.relation)
      );
    end if;

    if not is_installed then
      execute format(
        'create or replace trigger %I after %s on %s%s%s%s for each %s execute function account_sync.%I()',
        planned.trigger_name,
        planned.event_name,
        planned.relation,
        case when coalesce(planned.old_rows, planned.new_rows) is not null then ' referencing' end,
        case when planned.old_rows is not null then ' old table as old_rows' end,
        case when planned.new_rows is not null then ' new table as new_rows' end,
        case when is_row_trigger then 'row' else 'statement' end,
        planned.function_name
      );
    end if;
  end loop;
end
$install$;

-- Takes the capture triggers off one source table, for the owner of this schema. The caller sets lock_timeout and retries.
create or replace function account_sync.remove_capture(captured_table text) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $remove$
declare
  event_name text;
begin
  foreach event_name in array array['insert', 'update', 'delete', 'truncate'] loop
    execute format('drop function if exists account_sync.%I() cascade', format('capture_%s_%s', captured_table, event_name));
  end loop;
end
$remove$;

-- What one event of one table appends. For a statement trigger on m_account, without the casts and collations:
--
--   insert   select touched.id
--            from (select n.id from new_rows n) touched (id)
--            where touched.id is not null
--   update   select touched.id
--            from old_rows o full join new_rows n on o.id = n.id
--            cross join lateral (select coalesce(o.id, n.id)) touched (id)
--            where touched.id is not null and (o.id, o.name, ...) is distinct from (n.id, n.name, ...)
--
-- A row of a table with another owner_column than id touches the account that owns it, and after an update also the one that owned it before.
create or replace function account_sync.capture_queries(
  relation regclass,
  owner_column text,
  payload_columns text[],
  event_name text,
  -- For a row trigger, whose function has old and new instead of old_rows and new_rows.
  by_row boolean,
  -- By the columns that the table has now; otherwise the rows are read as JSON, which works whatever their columns are.
  as_it_stands boolean,
  -- The columns of the change table that the queries fill.
  out target text,
  -- For any number of rows.
  out query text,
  -- For an UPDATE of a single row whose key and owner stay: less than half of the plan, which every execution sets up and takes down.
  out one_row_query text,
  -- What follows PERFORM to find an old and a new row that differ in key or owner: there are none where one_row_query is enough.
  out differing_pair text,
  -- What the query reads of the record of a row trigger.
  out record_fields text
)
language plpgsql stable set search_path = pg_catalog, pg_temp
as $query$
declare
  -- What follows FROM for the rows before and after, under the aliases o and n: a row trigger has one of each, its record.
  old_rows constant text := case
    when as_it_stands and by_row then '(select) o'
    when as_it_stands then 'old_rows o'
    when by_row then '(select to_jsonb(old) as data) o'
    else '(select to_jsonb(r) as data from old_rows r) o'
  end;
  new_rows constant text := case
    when as_it_stands and by_row then '(select) n'
    when as_it_stands then 'new_rows n'
    when by_row then '(select to_jsonb(new) as data) n'
    else '(select to_jsonb(r) as data from new_rows r) n'
  end;
  -- What the columns are read of: of a record its fields, as what is selected from `old.*` is taken by position, also after a column has moved.
  old_row constant text := case when as_it_stands and by_row then 'old' else 'o' end;
  new_row constant text := case when as_it_stands and by_row then 'new' else 'n' end;
  -- The account, or of a table without owner the row that the marker names.
  id_column constant text := coalesce(owner_column, 'id');
  old_id constant text := account_sync.column_as_text(relation, old_row, id_column, as_it_stands);
  new_id constant text := account_sync.column_as_text(relation, new_row, id_column, as_it_stands);
  -- Several rows of a statement may have one owner.
  distinct_ids constant text := case when id_column <> 'id' and not by_row then 'distinct' end;
  marker constant text := case when owner_column is null then format(', %L', (select c.relname from pg_class c where c.oid = relation)) end;
  is_deleted_account constant boolean := relation = to_regclass('public.m_account') and event_name = 'delete';
  pairs text;
  touched text;
begin
  select string_agg(
    concat_ws(
      ', ',
      case when event_name <> 'insert' then format('old.%I', c) end,
      case when event_name <> 'delete' then format('new.%I', c) end
    ),
    ', '
  )
  into record_fields
  from account_sync.stored_columns(
    relation,
    array[id_column] || case
      when event_name = 'update' then array['id'] || payload_columns
      when is_deleted_account then array['uuid_be']
    end
  ) c;

  if event_name = 'truncate' then
    -- Which accounts had rows is not known any more: all that the queue knows.
    target := 'marker';
    query := $sql$select 'known'$sql$;
    return;
  end if;

  if is_deleted_account then
    -- With the external id: the row that had it is gone.
    target := 'account_id, external_id';
    query := format(
      'select deleted.id, deleted.external_id from (select %s, %s from %s) deleted (id, external_id) where deleted.id is not null',
      old_id,
      account_sync.column_as_text(relation, old_row, 'uuid_be', as_it_stands),
      old_rows
    );
    return;
  end if;

  target := case when owner_column is null then 'marker_id, marker' else 'account_id' end;

  if event_name in ('insert', 'delete') then
    query := format(
      'select %s touched.id%s from (select %s from %s) touched (id) where touched.id is not null',
      distinct_ids,
      marker,
      case event_name when 'insert' then new_id else old_id end,
      case event_name when 'insert' then new_rows else old_rows end
    );
    return;
  end if;

  if by_row then
    pairs := format('%s cross join %s', old_rows, new_rows);
  else
    -- A full join for all keys, and not only for those that changed, since it has no plan by nested loop: a session that meets one row first
    -- keeps the plan that it makes for it, and 20,000 rows would take minutes. The rows of a changed key find no partner, and differ.
    pairs := format(
      '%s full join %s on %s = %s',
      old_rows,
      new_rows,
      account_sync.comparable_column(relation, 'o', 'id', as_it_stands),
      account_sync.comparable_column(relation, 'n', 'id', as_it_stands)
    );
  end if;

  if id_column = 'id' and not by_row then
    -- One of the two, as they are equal where both are there.
    touched := format('(select coalesce(%s, %s))', old_id, new_id);
  else
    touched := format('(values (%s), (case when %s is distinct from %s then %s end))', old_id, old_id, new_id, new_id);
  end if;

  query := format(
    'select %s touched.id%s from %s cross join lateral %s touched (id) where touched.id is not null and %s',
    distinct_ids,
    marker,
    pairs,
    touched,
    account_sync.row_differs(relation, array['id'] || payload_columns, old_row, new_row, as_it_stands)
  );

  if not by_row then
    one_row_query := format(
      'select %s%s from %s cross join %s where %s is not null and %s',
      old_id,
      marker,
      old_rows,
      new_rows,
      old_id,
      account_sync.row_differs(relation, array_remove(payload_columns, owner_column), old_row, new_row, as_it_stands)
    );
    differing_pair := format(
      'from %s cross join %s where %s limit 1',
      old_rows,
      new_rows,
      account_sync.row_differs(relation, array['id', id_column], old_row, new_row, as_it_stands)
    );
  end if;
end
$query$;

-- These columns as far as they are there, and instead of a virtual generated one what it is made of: in a trigger's rows it is null.
create or replace function account_sync.stored_columns(relation regclass, column_names text[]) returns setof name
language sql stable set search_path = pg_catalog, pg_temp
as $$
  select coalesce(base.attname, a.attname)
  from pg_attribute a
  left join pg_attrdef generation on generation.adrelid = a.attrelid and generation.adnum = a.attnum and a.attgenerated = 'v'
  left join pg_depend d
    on d.classid = 'pg_attrdef'::regclass
    and d.objid = generation.oid
    and d.refclassid = 'pg_class'::regclass
    and d.refobjid = a.attrelid
    and d.deptype = 'n'
  left join pg_attribute base on base.attrelid = d.refobjid and base.attnum = d.refobjsubid and base.attnum > 0
  where a.attrelid = relation
    and a.attnum > 0
    and not a.attisdropped
    and a.attname = any (column_names)
$$;

create or replace function account_sync.column_as_text(relation regclass, row_alias text, column_name text, as_it_stands boolean) returns text
language sql stable set search_path = pg_catalog, pg_temp
as $$
  select case
    when not as_it_stands then format('(%s.data ->> %L)', row_alias, column_name)
    else coalesce(
      (
        select format('(select (%s)::text from (select %s.*) virtual)', pg_get_expr(generation.adbin, generation.adrelid), row_alias)
        from pg_attribute a
        join pg_attrdef generation on generation.adrelid = a.attrelid and generation.adnum = a.attnum
        where a.attrelid = relation and a.attname = column_name and a.attgenerated = 'v'
      ),
      format('%s.%I::text', row_alias, column_name)
    )
  end
$$;

-- A column as it is compared. Anything but numbers, dates and the like byte by byte: a case-insensitive collation or type would take
-- a corrected name for the same one, json has no equality, and the operators of an extension's type are out of search_path.
create or replace function account_sync.comparable_column(relation regclass, row_alias text, column_name text, as_it_stands boolean)
returns text
language sql stable set search_path = pg_catalog, pg_temp
as $$
  select case
    when not as_it_stands then account_sync.column_as_text(relation, row_alias, column_name, false)
    when a.attcollation = 0
      and exists (
        select
        from pg_opclass c
        join pg_am m on m.oid = c.opcmethod
        where c.opcintype = a.atttypid and c.opcdefault and m.amname = 'btree' and c.opcnamespace = 'pg_catalog'::regnamespace
      )
      then format('%s.%I', row_alias, column_name)
    else format('%s collate "C"', account_sync.column_as_text(relation, row_alias, column_name, true))
  end
  from pg_attribute a
  where a.attrelid = relation and a.attname = column_name
$$;

-- The condition that two rows are not the same in these columns, as far as they are there.
create or replace function account_sync.row_differs(
  relation regclass,
  column_names text[],
  old_row text,
  new_row text,
  as_it_stands boolean
) returns text
language sql stable set search_path = pg_catalog, pg_temp
as $$
  with compared as (
    select
      a.attname,
      a.attnum
    from pg_attribute a
    where a.attrelid = relation
      and a.attname in (select account_sync.stored_columns(relation, column_names))
  )
  select case
    when as_it_stands then (
      select case
        when count(*) = 0 then 'false'
        else format(
          '(%s) is distinct from (%s)',
          string_agg(account_sync.comparable_column(relation, old_row, attname, true), ', ' order by attnum),
          string_agg(account_sync.comparable_column(relation, new_row, attname, true), ', ' order by attnum)
        )
      end
      from compared
    )
    -- By what is no payload, since a payload column may have another name by now. A column that came after the migrate counts: a sync that
    -- finds nothing new sends nothing, a change that is not captured is lost.
    else (
      select format('(%1$s.data - %3$L::text[]) is distinct from (%2$s.data - %3$L::text[])', old_row, new_row, coalesce(array_agg(a.attname::text order by a.attnum), '{}'))
      from pg_attribute a
      where a.attrelid = relation
        and a.attnum > 0
        and not a.attisdropped
        and a.attname not in (select attname from compared)
    )
  end
$$;

create or replace function account_sync.has_column(in_table text, column_name text) returns boolean
language sql stable set search_path = pg_catalog, pg_temp
as $$
  select exists (
    select
    from pg_attribute a
    where a.attrelid = to_regclass('public.' || in_table) and a.attname = column_name and a.attnum > 0 and not a.attisdropped
  )
$$;

-- What install_capture puts on one table as it stands now, a row for each event: none where nothing can be captured. Installing and
-- checking both read it, so that they cannot come to differ.
create or replace function account_sync.capture_plan(wanted_table text)
returns table (
  relation regclass,
  event_name text,
  -- As in pg_trigger.tgtype: 1 for a row trigger, and the bit of the event.
  trigger_type smallint,
  trigger_name text,
  old_rows name,
  new_rows name,
  function_name text,
  function_body text
)
language sql stable set search_path = pg_catalog, pg_temp
as $plan$
  select
    c.oid::regclass,
    event.name,
    (event.bit + shape.by_row::int)::smallint,
    format('%s_capture_%s', wanted_table, event.name),
    case when event.name in ('update', 'delete') and not shape.by_row then 'old_rows' end::name,
    case when event.name in ('insert', 'update') and not shape.by_row then 'new_rows' end::name,
    format('capture_%s_%s', wanted_table, event.name),
    trigger_function.body
  from account_sync.captured_table() captured
  join pg_class c on c.oid = to_regclass('public.' || wanted_table) and c.relkind in ('r', 'p')
  cross join (values ('insert', 4), ('update', 16), ('delete', 8), ('truncate', 32)) event (name, bit)
  cross join lateral (select c.relkind = 'p' and event.name <> 'truncate' as by_row) shape
  cross join lateral (
    select
      coalesce(to_regclass('account_sync.change')::oid, missing.oid) as change_table,
      coalesce(to_regclass('account_sync.doorbell_until')::oid, missing.oid) as doorbell,
      coalesce(to_regprocedure('account_sync.plan_nonce(regclass, regclass, regclass)')::oid, missing.oid) as nonce_function,
      to_regnamespace('account_sync')::oid as namespace
    -- As long as an oid: check_triggers compares the functions without oids.
    from (select '4294967295'::oid) missing (oid)
  ) ours
  cross join lateral account_sync.capture_queries(c.oid, captured.owner_column, captured.payload_columns, event.name, shape.by_row, true) as_it_stands
  cross join lateral account_sync.capture_queries(c.oid, captured.owner_column, captured.payload_columns, event.name, shape.by_row, false) any_shape
  -- The parts of the function, under the names by which its text takes them in, and their lines indented as there.
  cross join lateral (
    select
      concat_ws(
        ' and ',
        format($$has_schema_privilege(%s, 'usage')$$, ours.namespace),
        -- That it is still called so. Asked for by the name, it would be parsed, in twice the time.
        format($$%L::regnamespace::text = 'account_sync'$$, ours.namespace),
        -- Opens the table.
        format($$pg_relation_is_updatable(%L, false) > 0$$, ours.change_table),
        format($$has_table_privilege(%s, 'insert')$$, ours.change_table),
        -- That it is there.
        format($$pg_function_is_visible(%s) is not null$$, ours.nonce_function),
        format($$has_function_privilege(%s, 'execute')$$, ours.nonce_function)
      ) as has_rights,
      format('account_sync.plan_nonce(%L, %L, %L)', c.oid, ours.change_table, ours.doorbell) as plan_nonce,
      -- Of each partition by itself.
      case
        when shape.by_row then format($$'account_sync.verified_%s_' || tg_relid$$, event.name)
        else format($$'account_sync.verified_%s_%s'$$, event.name, c.oid)
      end as verified_setting,
      format('%L::regclass', ours.doorbell) as doorbell,
      format(
        $$%s = %s and to_regclass('account_sync.change') = %s$$,
        case when shape.by_row then 'pg_partition_root(tg_relid)' else 'tg_relid' end,
        c.oid,
        ours.change_table
      ) as finds_these_relations,
      -- Whether a row trigger's record has the types of the plan shows when its fields are read: each of them, as a condition is decided by
      -- the first that differs.
      case when shape.by_row then format('perform row(%s);', as_it_stands.record_fields) end as read_record,
      -- A column that has become a virtual generated one fits and is null; a statement that would set it is refused, also when it is only
      -- prepared.
      (
        select format(
          $$if current_setting('server_version_num')::integer >= 180000 then
              execute 'prepare account_sync_probe as update ' || tg_relid::regclass || %L;
              deallocate account_sync_probe;
            end if;$$,
          ' set ' || string_agg(format('%1$I = %1$I', a.attname), ', ' order by a.attnum)
        )
        from pg_attribute a
        where a.attrelid = c.oid
          and a.attname in (select account_sync.stored_columns(c.oid, array['id'] || captured.payload_columns))
          and a.attgenerated = ''
          and a.attidentity <> 'a'
          and event.name = 'update'
        having count(*) > 0
      ) as prepare_update,
      -- How PostgreSQL says that something of ours is not there, does not fit or is not allowed.
      'syntax_error_or_access_rule_violation or invalid_schema_name' as refusal,
      -- An insert of no rows does not meet it.
      format(
        $$if row_security_active(%s) then
                raise insufficient_privilege using message = 'row security of account_sync.change applies to its owner';
              end if;$$,
        ours.change_table
      ) as refuse_row_security,
      format('insert into account_sync.change (%s) %s;', as_it_stands.target, any_shape.query) as append_any_shape,
      format('insert into account_sync.change (%s) %s;', as_it_stands.target, as_it_stands.query) as append,
      format('insert into account_sync.change (%s) %s;', as_it_stands.target, as_it_stands.one_row_query) as append_one_row
  ) part
  cross join lateral (
    select
      case
        when as_it_stands.one_row_query is null then part.append
        else concat(
        $$perform $$, as_it_stands.differing_pair, $$;
        if found then
          $$, part.append, $$
        else
          $$, part.append_one_row, $$
        end if;$$
        )
      end as append_as_it_stands,
      -- Where the column that names the account has another name, or is gone, it is not known which accounts are touched: all that the queue
      -- knows, or after an insert of accounts all that it does not know.
      case
        when event.name = 'truncate' then part.append_any_shape
        else format(
          $$if %s and not exists (
                select from pg_attribute a where a.attrelid = tg_relid and a.attname = %L and not a.attisdropped
              ) then
                insert into account_sync.change (marker) values (%L);
              else
                %s
              end if;$$,
          case
            when shape.by_row then 'true'
            else format('exists (select from %s)', case event.name when 'delete' then 'old_rows' else 'new_rows' end)
          end,
          coalesce(captured.owner_column, 'id'),
          case when captured.owner_column = 'id' and event.name = 'insert' then 'unqueued' else 'known' end,
          part.append_any_shape
        )
      end as append_whatever_the_shape,
      -- The clock is not looked at while the doorbell is off.
      concat(
          $$if pg_sequence_last_value($$, part.doorbell, $$) > 0 then
            if pg_sequence_last_value($$, part.doorbell, $$) > date_part('epoch', clock_timestamp()) * 1000 then
              begin
                perform account_sync.ring();
              exception when $$, part.refusal, $$ then
                -- Not ours to call, or gone: the sweep finds the change.
                null;
              end;
            end if;
          end if;$$
      ) as ring_the_doorbell
  ) step
  -- The application's statements must not fail because of us, and a probe in a block of its own, whose subtransaction never needs an id,
  -- costs as much as the capture itself. So a session probes once, and again after whatever might have changed the outcome.
  --
  -- What tells it is the nonce. The planner takes plan_nonce() for a constant, as it is called immutable, and evaluates it once for a plan.
  -- The plan stands until PostgreSQL hears of a change of one of the relations that are named in it, or of any schema; the next one has
  -- another nonce, which is not the one that was verified. Before that, what other sessions have done has to be heard of: they cannot alter
  -- the source table, which the statement has locked, but ours, and opening the change table asks. Rights that a role has through another one
  -- are in no relation: they are looked up. Relations are named by oid, as a name that is gone would be an error, and a session that finds
  -- others (after a restore) probes each time, until the next migrate.
  --
  -- Without a nonce nothing counts as verified: where the rights are missing, and while account_sync.skip_capture is set.
  --
  -- Three probes, the last one only if one of the others fails. The table's columns changed before the next migrate: the slow query is used,
  -- which fits any table. The doorbell is gone or not ours to read: the sweep finds the change. The change table cannot be written: warn and
  -- skip; doctor reports it, reconcile and backfill recover what was missed.
  cross join lateral (
    select concat($$
      declare
        nonce text;
      begin
        if (current_setting('account_sync.skip_capture', true) <> '') is not true and $$, part.has_rights, $$ then
          nonce := $$, part.plan_nonce, $$;
        end if;

        if nonce = current_setting($$, part.verified_setting, $$, true) then
          null;
        else
          if current_setting('account_sync.skip_capture', true) = pg_current_xact_id_if_assigned()::text then
            return null;
          end if;

          declare
            fits boolean := true;
            has_doorbell boolean := true;
          begin
            begin
              $$, part.refuse_row_security, $$
              insert into account_sync.change ($$, as_it_stands.target, $$) select probe.* from ($$, as_it_stands.query, $$) as probe where false;
              $$, part.read_record, part.prepare_update, $$
            exception when $$, part.refusal, $$ then
              fits := false;
            end;
            begin
              has_doorbell := (to_regclass('account_sync.doorbell_until') = $$, part.doorbell, $$) is true;
              if has_doorbell then
                perform pg_sequence_last_value($$, part.doorbell, $$);
              end if;
            exception when $$, part.refusal, $$ then
              has_doorbell := false;
            end;

            if fits and has_doorbell then
              if nonce is not null and $$, part.finds_these_relations, $$ then
                perform set_config($$, part.verified_setting, $$, nonce, false);
              end if;
            else
              begin
                $$, part.refuse_row_security, $$
                insert into account_sync.change ($$, as_it_stands.target, $$) select probe.* from ($$, any_shape.query, $$) as probe where false;
              exception when $$, part.refusal, $$ then
                raise warning 'account-sync could not capture a change of %: %', tg_relid::regclass, sqlerrm
                  using hint = 'The command doctor of account-sync says what to run.';
                return null;
              end;
              $$, step.append_whatever_the_shape, $$
              if found and has_doorbell then
                $$, step.ring_the_doorbell, $$
              end if;
              return null;
            end if;
          end;
        end if;

        $$, step.append_as_it_stands, $$
        if found then
          $$, step.ring_the_doorbell, $$
        end if;
        return null;
      end
      $$) as body
  ) trigger_function
  where captured.source_table = wanted_table
    -- A marker that cannot be expanded would stay for ever.
    and (captured.dependent_table is null or account_sync.has_column(captured.dependent_table, captured.dependent_column))
$plan$;

revoke all on function account_sync.captured_table() from public;
revoke all on function account_sync.capture_plan(text) from public;
revoke all on function account_sync.has_trigger(regclass, smallint, text, name, name, text) from public;
revoke all on function account_sync.install_capture(text) from public;
revoke all on function account_sync.remove_capture(text) from public;
revoke all on function account_sync.capture_queries(regclass, text, text[], text, boolean, boolean) from public;
revoke all on function account_sync.comparable_column(regclass, text, text, boolean) from public;
revoke all on function account_sync.column_as_text(regclass, text, text, boolean) from public;
revoke all on function account_sync.row_differs(regclass, text[], text, text, boolean) from public;
revoke all on function account_sync.stored_columns(regclass, text[]) from public;
revoke all on function account_sync.plan_nonce(regclass, regclass, regclass) from public;
revoke all on function account_sync.move_doorbell() from public;
revoke all on function account_sync.has_column(text, text) from public;
