-- Age of the oldest change that is on its way: parked accounts wait for a human and are counted, not aged.
--
-- Of what is not folded yet some thousands are looked at, as they lie, which is about by age: a million of them must not cost every
-- scrape a scan.
select greatest(extract(epoch from now() - least(
  (select changed_at from account_sync.account where changed_at is not null and parked_at is null order by changed_at limit 1),
  (select min(changed_at) from (select changed_at from account_sync.change limit 5000) unfolded),
  (select min(changed_at) from account_sync.expansion)
)), 0)::float8 as "seconds"
