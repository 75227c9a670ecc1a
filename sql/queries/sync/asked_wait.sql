-- How long this API asked all daemons to wait, as far as it is not over.
-- $1 base URL
select (extract(epoch from held_until - clock_timestamp()) * 1000)::float8 as "waitMs"
from account_sync.api_hold
-- Asked later than now: the clock was set back since, and how much of the wait is over is not known. The API will ask again.
where base_url = $1 and held_until > clock_timestamp() and asked_at <= clock_timestamp()
