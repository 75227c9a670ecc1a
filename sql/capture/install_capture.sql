-- Puts the capture triggers on one source table, as the table stands now. Run again at every `migrate`: columns come and go.
--
-- Statement triggers with transition tables; a partitioned table gets row triggers, since a statement aimed at a partition
-- does not fire the parent's. Triggers that are there already are left alone, so that repeating takes no lock on the table;
-- the caller sets lock_timeout and retries.
--
-- Every function that runs with our rights has search_path = pg_catalog, pg_temp: with an empty one, PostgreSQL looks for types in
-- the caller's temporary schema first, and a domain pg_temp.text would run its author's checks with our rights.

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
    if planned.trigger_type & 1 = 1 then
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
        case when planned.trigger_type & 1 = 1 then 'row' else 'statement' end,
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

-- What one event of one table appends: the columns of the change table, and the query that fills them.
-- Not as_it_stands: reads rows as JSON, which works whatever their columns are.
create or replace function account_sync.capture_query(
  relation regclass,
  owner_column text,
  payload_columns text[],
  event_name text,
  by_row boolean,
  as_it_stands boolean,
  out target text,
  out query text
)
language plpgsql stable set search_path = pg_catalog, pg_temp
as $query$
declare
  old_rows constant text := case when by_row then '(select old.*) o' else 'old_rows o' end;
  new_rows constant text := case when by_row then '(select new.*) n' else 'new_rows n' end;
  id_column constant text := coalesce(owner_column, 'id');
  old_id constant text := account_sync.column_as_text('o', id_column, as_it_stands);
  new_id constant text := account_sync.column_as_text('n', id_column, as_it_stands);
  changed_rows text;
  touched_ids text;
  old_values text;
  new_values text;
begin
  if event_name = 'truncate' then
    -- Which accounts had rows is not known any more: all that the queue knows.
    target := 'marker';
    query := $sql$select 'known'$sql$;
    return;
  end if;

  if relation = to_regclass('public.m_account') and event_name = 'delete' then
    target := 'account_id, external_id';
    query := format(
      'select deleted.id, deleted.external_id from (select %s, %s from %s) deleted (id, external_id) where deleted.id is not null',
      old_id,
      account_sync.column_as_text('o', 'uuid_be', as_it_stands),
      old_rows
    );
    return;
  end if;

  -- The key is compared too, so that a changed key shows as two different rows.
  select
    string_agg(account_sync.comparable_column(relation, 'o', a.attname, as_it_stands), ', ' order by a.attnum),
    string_agg(account_sync.comparable_column(relation, 'n', a.attname, as_it_stands), ', ' order by a.attnum)
  into old_values, new_values
  from pg_attribute a
  where a.attrelid = relation
    and a.attnum > 0
    and not a.attisdropped
    and (a.attname = 'id' or a.attname = any (payload_columns));

  changed_rows := case
    when event_name = 'insert' then new_rows
    when event_name = 'delete' then old_rows
    when by_row then format('%s cross join %s', old_rows, new_rows)
    else format(
      '%s full join %s on %s = %s',
      old_rows,
      new_rows,
      account_sync.comparable_column(relation, 'o', 'id', as_it_stands),
      account_sync.comparable_column(relation, 'n', 'id', as_it_stands)
    )
  end;
  touched_ids := case event_name
    when 'insert' then format('(%s)', new_id)
    when 'delete' then format('(%s)', old_id)
    else format('(%s), (%s)', old_id, new_id)
  end;

  target := case when owner_column is null then 'marker_id, marker' else 'account_id' end;
  query := format(
    'select distinct touched.id%s from %s cross join lateral (values %s) touched (id) where touched.id is not null%s',
    case when owner_column is null then format(', %L', (select c.relname from pg_class c where c.oid = relation)) end,
    changed_rows,
    touched_ids,
    case when event_name = 'update' then format(' and (%s) is distinct from (%s)', old_values, new_values) end
  );
end
$query$;

create or replace function account_sync.column_as_text(row_alias text, column_name text, as_it_stands boolean) returns text
language sql immutable set search_path = pg_catalog, pg_temp
as $$
  select format(case when as_it_stands then '%s.%I::text' else '(to_jsonb(%s) ->> %L)' end, row_alias, column_name)
$$;

-- A column as it is compared. Anything but numbers, dates and the like byte by byte: a case-insensitive collation or type would take
-- a corrected name for the same one, json has no equality, and the operators of an extension's type are out of search_path.
create or replace function account_sync.comparable_column(relation regclass, row_alias text, column_name text, as_it_stands boolean)
returns text
language sql stable set search_path = pg_catalog, pg_temp
as $$
  select case
    when not as_it_stands then account_sync.column_as_text(row_alias, column_name, false)
    when a.attcollation = 0
      and exists (
        select
        from pg_opclass c
        join pg_am m on m.oid = c.opcmethod
        where c.opcintype = a.atttypid and c.opcdefault and m.amname = 'btree' and c.opcnamespace = 'pg_catalog'::regnamespace
      )
      then format('%s.%I', row_alias, column_name)
    else format('%s collate "C"', account_sync.column_as_text(row_alias, column_name, true))
  end
  from pg_attribute a
  where a.attrelid = relation and a.attname = column_name
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
  -- As in pg_trigger.
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
    -- The application's statements must not fail because of us. The first probe inserts no row, in a block of its own, whose subtransaction
    -- never needs an id. If it fails, the other probes find out why: the table's columns changed before the next migrate (use the slow query
    -- that fits any table), the doorbell is gone or not ours to read (the sweep finds the change), or the change table cannot be written
    -- (warn and skip: doctor reports it, reconcile and backfill recover what was missed).
    format(
      $body$
      declare
        is_sound boolean := true;
        fits boolean := true;
        has_doorbell boolean := true;
      begin
        if current_setting('account_sync.skip_capture', true) = pg_current_xact_id_if_assigned()::text then
          return null;
        end if;

        begin
          insert into account_sync.change (%1$s) select probe.* from (%2$s) as probe cross join account_sync.doorbell where false;
        exception when syntax_error_or_access_rule_violation then
          is_sound := false;
        end;
        if not is_sound then
          begin
            insert into account_sync.change (%1$s) select probe.* from (%2$s) as probe where false;
          exception when syntax_error_or_access_rule_violation then
            fits := false;
          end;
          if not fits then
            begin
              insert into account_sync.change (%1$s) select probe.* from (%3$s) as probe where false;
            exception when syntax_error_or_access_rule_violation then
              raise warning 'account-sync could not capture a change of %%: %%', tg_relid::regclass, sqlerrm
                using hint = 'The command doctor of account-sync says what to run.';
              return null;
            end;
          end if;
          begin
            perform from account_sync.doorbell where false;
          exception when syntax_error_or_access_rule_violation then
            has_doorbell := false;
          end;
        end if;

        if fits then
          insert into account_sync.change (%1$s) %2$s;
        else
          insert into account_sync.change (%1$s) %3$s;
        end if;

        -- One condition would be planned as a whole, with or without a doorbell.
        if found and has_doorbell then
          if exists (select from account_sync.doorbell where wanted_until > clock_timestamp()) then
            begin
              perform account_sync.ring();
            exception when syntax_error_or_access_rule_violation then
              -- Not ours to call, or gone: the sweep finds the change.
              null;
            end;
          end if;
        end if;
        return null;
      end
      $body$,
      as_it_stands.target,
      as_it_stands.query,
      whatever_comes.query
    )
  from account_sync.captured_table() captured
  join pg_class c on c.oid = to_regclass('public.' || wanted_table) and c.relkind in ('r', 'p')
  cross join (values ('insert', 4), ('update', 16), ('delete', 8), ('truncate', 32)) event (name, bit)
  cross join lateral (select c.relkind = 'p' and event.name <> 'truncate' as by_row) shape
  cross join lateral account_sync.capture_query(c.oid, captured.owner_column, captured.payload_columns, event.name, shape.by_row, true) as_it_stands
  cross join lateral account_sync.capture_query(c.oid, captured.owner_column, captured.payload_columns, event.name, shape.by_row, false) whatever_comes
  where captured.source_table = wanted_table
    -- A marker that cannot be expanded would stay for ever.
    and (captured.dependent_table is null or account_sync.has_column(captured.dependent_table, captured.dependent_column))
$plan$;

revoke all on function account_sync.captured_table() from public;
revoke all on function account_sync.capture_plan(text) from public;
revoke all on function account_sync.has_trigger(regclass, smallint, text, name, name, text) from public;
revoke all on function account_sync.install_capture(text) from public;
revoke all on function account_sync.remove_capture(text) from public;
revoke all on function account_sync.capture_query(regclass, text, text[], text, boolean, boolean) from public;
revoke all on function account_sync.comparable_column(regclass, text, text, boolean) from public;
revoke all on function account_sync.column_as_text(text, text, boolean) from public;
revoke all on function account_sync.has_column(text, text) from public;
