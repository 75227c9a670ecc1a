-- What was captured and is not folded into the accounts yet: changes, and markers on their way to becoming accounts.
-- $1 count at most so many changes
select
  (select count(*) from (select from account_sync.change where marker is null limit $1) counted)::int as "changes",
  (select count(*) from account_sync.change where marker is not null)::int
    + (select count(*) from account_sync.expansion)::int as "markers"
