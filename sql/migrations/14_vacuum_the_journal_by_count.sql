-- Every attempt is updated once or twice and then rests. By a share of the table, which is the default, a journal of ten million rows would
-- keep two million dead versions, and as many dead entries in the index of the unsettled ones, which lives from being small.
alter table account_sync.attempt set (
  autovacuum_vacuum_scale_factor = 0,
  autovacuum_vacuum_threshold = 50000,
  autovacuum_analyze_scale_factor = 0.02,
  autovacuum_analyze_threshold = 5000
);

-- The rows of an account are written over and over: what planners know of them is renewed as often as they are vacuumed.
alter table account_sync.account set (
  autovacuum_analyze_scale_factor = 0.02,
  autovacuum_analyze_threshold = 5000
);
