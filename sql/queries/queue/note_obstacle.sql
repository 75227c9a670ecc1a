-- Records what stops this replica from sending, or that nothing does, and that it is there to say so.
-- $1 this replica   $2 the length of its leases, ms   $3 what stops it, null for nothing   $4 since how many ms
-- $5 for how many ms more, null when that is not known   $6 the reason
--
-- Also inserts: the row of a living replica may have been dropped with the schema.
insert into account_sync.replica as r (replica_id, lease_ms, stopped_by, stopped_since, stopped_until, stop_reason, seen_at)
values (
  $1,
  $2,
  $3,
  now() - $4::float8 * interval '1 ms',
  now() + $5::float8 * interval '1 ms',
  $6,
  now()
)
on conflict (replica_id) do update set
  stopped_by = excluded.stopped_by,
  stopped_since = excluded.stopped_since,
  stopped_until = excluded.stopped_until,
  stop_reason = excluded.stop_reason,
  seen_at = excluded.seen_at
