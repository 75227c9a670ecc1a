-- Age of the oldest change that is on its way: parked accounts wait for a human and are counted, not aged.
select coalesce(extract(epoch from now() - min(changed_at)), 0)::float8 as "seconds"
from account_sync.account
where changed_at is not null and parked_at is null
