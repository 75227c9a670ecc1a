-- What is left of the backfill lane: markers not expanded yet, and accounts that wait in it.
select
  (select count(*) from account_sync.change where lane = 'backfill')::int
    + (select count(*) from account_sync.expansion where lane = 'backfill')::int as "unfolded",
  (select count(*) from account_sync.account where lane = 'backfill' and due_at is not null)::int as "pending"
