-- Reserves the next places in the row of requests, evenly spaced over all replicas, and says how long to wait for the first.
-- $1 how many   $2 requests per second
--
-- What was not used is gone: after an outage nothing is made up for, so there is no burst.
update account_sync.send_rate
set next_at = greatest(next_at, clock_timestamp()) + $1::integer * interval '1 s' / $2::integer
returning (extract(epoch from next_at - clock_timestamp()) * 1000 - $1::integer * 1000.0 / $2::integer)::float8 as "waitMs"
