-- How far the walk over all known accounts has come that looks for drift, and who walks. One row: whichever replica takes it goes on
-- where the last one was.

create table account_sync.reconciliation (
  is_the_only_one boolean primary key default true,
  -- The last account that was looked at; empty between two walks.
  watermark       text not null default '',
  finished_at     timestamptz,
  -- Of the replica that walks; it moves on with every step.
  turn_token      uuid,
  turn_until      timestamptz,
  constraint there_is_one_walk check (is_the_only_one),
  constraint turn_has_an_end check ((turn_token is null) = (turn_until is null))
);

-- What is installed now has nothing to compare with yet.
insert into account_sync.reconciliation (finished_at) values (now());
