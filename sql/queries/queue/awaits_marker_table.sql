-- Whether what a marker's expansion misses may come back. A marker of all accounts reads tables that are always there. One of a row that
-- many accounts depend on is expanded along another table, which is missed while capture is installed on both: migrate installs it where
-- the marker can be expanded, and removes it where the table, or its column, is gone for good.
-- $1 marker
select
  not exists (
    select
    from account_sync.captured_table() captured
    cross join unnest(array[captured.source_table, captured.dependent_table]) as needed (table_name)
    where captured.source_table = $1
      and captured.dependent_table is not null
      and to_regprocedure(format('account_sync.%I()', 'capture_' || needed.table_name || '_insert')) is null
  ) as "isAwaited"
