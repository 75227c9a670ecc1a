-- How many accounts are kept back, by state and error class.
select
  state as "state",
  error_class as "errorClass",
  count(*)::int as "count"
from account_sync.status
where changed_at is not null and error_class is not null
group by state, error_class
order by state, count(*) desc, error_class
