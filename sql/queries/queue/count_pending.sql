-- How many accounts are in which state, clean ones left out.
select
  state as "state",
  count(*)::int as "count"
from account_sync.status
where changed_at is not null
group by state
