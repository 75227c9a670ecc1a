-- Whether every transaction that was running at the horizon has ended.
-- $1 horizon, from doorbell_horizon
select pg_snapshot_xmin(pg_current_snapshot()) >= $1::xid8 as "passed"
