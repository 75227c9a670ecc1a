-- Which of these APIs asked all daemons to wait, and how much of it is left.
-- $1 base URLs
select
  base_url as "baseUrl",
  (extract(epoch from held_until - clock_timestamp()) * 1000)::float8 as "waitMs"
from account_sync.api_hold
where base_url = any ($1::text[]) and held_until > clock_timestamp()
