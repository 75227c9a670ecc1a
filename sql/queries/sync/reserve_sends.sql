-- Reserves the next places in the row of requests, evenly spaced over all replicas, and says how long to wait for the first.
-- $1 how many   $2 requests per second
--
-- What was not used is gone: after an outage nothing is made up for, so there is no burst. A clock that was set back leaves as much of the row
-- ahead as there was at the last reservation.
update account_sync.send_rate
set
  next_at = clock_timestamp() + $1::integer * interval '1 s' / $2::integer + greatest(
    least(
      greatest(next_at, clock_timestamp()) - clock_timestamp(),
      greatest(next_at, clock_timestamp()) - reserved_at
    ),
    '0'
  ),
  reserved_at = clock_timestamp()
returning (extract(epoch from next_at - clock_timestamp()) * 1000 - $1::integer * 1000.0 / $2::integer)::float8 as "waitMs"
