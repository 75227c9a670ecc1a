-- Marks these accounts in the slow lane.
-- $1 account ids
insert into account_sync.change (account_id, lane)
select
  account_id,
  'backfill'
from unnest($1::text[]) as marked (account_id)
