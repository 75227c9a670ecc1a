-- Marks many accounts, in the slow lane: all, missing (those that lack an id), or unqueued (those the queue does not know).
-- $1 marker
insert into account_sync.change (marker, lane) values ($1, 'backfill')
