-- Captured and not folded into the accounts yet: changes, and markers that are not expanded into accounts.
-- $1 how many changes are counted at most
select
  (select count(*) from (select from account_sync.change where marker is null limit $1) counted)::int as "changes",
  (select count(*) from account_sync.change where marker is not null)::int
    + (select count(*) from account_sync.expansion)::int as "markers",
  (select count(*) from account_sync.expansion where failures > 0)::int as "setAside"
