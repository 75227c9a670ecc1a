-- Markers that could not be expanded and are set aside, by kind and by what failed.
select
  marker as "marker",
  error as "error",
  count(*)::int as "count"
from account_sync.expansion
where failures > 0
group by marker, error
order by marker, error
