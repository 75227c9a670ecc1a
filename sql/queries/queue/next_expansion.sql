-- The marker to expand next, locked: one replica walks it at a time.
select
  expansion_id as "expansionId",
  marker as "marker",
  marker_id as "markerId",
  lane as "lane",
  request as "request",
  changed_at::text as "changedAt",
  watermark as "watermark"
from account_sync.expansion
where due_at <= now()
order by lane, expansion_id
limit 1
for update skip locked
