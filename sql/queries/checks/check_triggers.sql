-- The capture triggers against what migrate would install for the tables as they stand now. A function is compared with what calls
-- it: SECURITY DEFINER and search_path are part of what it does.
select
  captured.source_table as "table",
  planned.trigger_name as "trigger",
  planned.function_name as "function",
  account_sync.has_trigger(
    planned.relation, planned.trigger_type, planned.trigger_name, planned.old_rows, planned.new_rows, planned.function_name
  ) as "isPresent",
  -- Oids do not count: they are others after a restore, where a trigger works, more slowly, until the next migrate.
  coalesce(
    regexp_replace(f.prosrc, '\d{5,}', '', 'g') = regexp_replace(planned.function_body, '\d{5,}', '', 'g') and f.prosecdef and f.proconfig = array['search_path=pg_catalog, pg_temp'],
    false
  ) as "isUnchanged",
  -- A partition that is added gets a copy of a row trigger, for which the table's owner needs the right to its function.
  coalesce(
    planned.trigger_type & 1 = 0
      or has_function_privilege((select c.relowner from pg_class c where c.oid = planned.relation), f.oid, 'execute'),
    true
  ) as "mayBeCopied",
  -- A partition's copy of a trigger is switched off by itself.
  array(
    select json_build_object('table', t.tgrelid::regclass::text, 'onlyReplicas', t.tgenabled = 'R')
    from pg_trigger t
    where t.tgfoid = f.oid and t.tgname = planned.trigger_name and t.tgenabled in ('D', 'R')
    order by t.tgrelid
  ) as "disabledOn"
from account_sync.captured_table() captured
cross join lateral account_sync.capture_plan(captured.source_table) planned
left join pg_proc f on f.oid = to_regprocedure(format('account_sync.%I()', planned.function_name))
