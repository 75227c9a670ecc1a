-- The change table: one small row per account whose payload really changed, appended inside the application's transaction.
--
-- It has no key, no index, no sequence and no foreign key, so that appending costs the application as little as possible and
-- never waits for another transaction. The fold deletes rows by ctid; insert order is not commit order, nothing relies on it.

create type account_sync.lane as enum ('manual', 'change', 'backfill');

create table account_sync.change (
  account_id  text,
  -- Instead of an account: a row many accounts depend on, or all of them. The fold expands it, so the application does not pay.
  marker      text,
  marker_id   text,
  lane        account_sync.lane not null default 'change',
  -- What a person asked for: {"user_id": …, "config_id": …, "force": true}.
  request     jsonb,
  -- The external id of a deleted account.
  external_id text,
  changed_at  timestamptz not null default clock_timestamp(),
  constraint change_names_an_account_or_a_marker check ((account_id is null) <> (marker is null))
) with (
  -- The table fills and empties all day: vacuum by count, not by share, or the fold walks over dead rows.
  autovacuum_vacuum_scale_factor = 0,
  autovacuum_vacuum_threshold = 10000,
  -- Giving empty pages back takes an exclusive lock, on the table every application transaction appends to.
  vacuum_truncate = off,
  autovacuum_vacuum_insert_scale_factor = 0,
  autovacuum_vacuum_insert_threshold = 100000
);

-- A publication for all tables (a neighbouring CDC tool's) forbids deleting from a table without a replica identity.
alter table account_sync.change replica identity full;

-- Until when the triggers shall NOTIFY. A resting daemon renews it; it runs out by itself when the last daemon dies.
create table account_sync.doorbell (
  wanted_until timestamptz not null,
  singleton    boolean primary key default true,
  constraint doorbell_is_one_row check (singleton)
);

insert into account_sync.doorbell (wanted_until) values ('-infinity');
