-- Until when an API asked to be left alone. It is said to one replica ("429, Retry-After: 30") and meant for all of them.
create table account_sync.api_hold (
  base_url   text primary key,
  held_until timestamptz not null
);
