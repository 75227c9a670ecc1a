-- How far the ids are taken over that stood in the tables before there was a mapping. Locks the row for the rest of the transaction, unless
-- all are done, or another replica is at it.
with ours as (
  select
    true as is_ours,
    watermark
  from account_sync.id_takeover
  where finished_at is null
  for update skip locked
)
select
  takeover.finished_at is not null as "isDone",
  coalesce(ours.is_ours, false) as "isOurs",
  nullif(ours.watermark, '') as "watermark"
from account_sync.id_takeover as takeover
left join ours on true
