-- How far the ids are taken over that stood in the tables before there was a mapping; no row when all are, or another replica is at it. Locks
-- the row for the rest of the transaction.
select nullif(watermark, '') as "watermark"
from account_sync.id_takeover
where finished_at is null
for update skip locked
