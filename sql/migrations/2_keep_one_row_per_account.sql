-- The queue: one row for every account that was ever dirty.
--
-- Life of a row:
--   clean      nothing to deliver: changed_at and due_at are null.
--   waiting    changed; due_at lies ahead (quiet period, max wait), or in the past: due.
--   running    claimed: lease_token is set and due_at is the end of the lease, so that a dead worker's account falls due again.
--   retrying   the last try failed in a way that may pass; due_at is the end of the backoff.
--   blocked    waits for its parent's external id; due_at is when to look again in case nobody wakes it.
--   parked     set aside for a human: parked_at is set and due_at is null.
-- A change that arrives while the row is leased raises generation and is kept in the next_ columns; settling compares the
-- generation it was claimed with, and opens a new round from them.

create table account_sync.account (
  account_id      text primary key,
  generation      bigint not null default 1,
  lane            account_sync.lane not null,
  -- First and last change of the round that is not delivered yet.
  changed_at      timestamptz,
  last_changed_at timestamptz not null,
  request         jsonb,
  due_at          timestamptz,
  lease_token     uuid,
  -- The replica that holds the lease; null for a command, which comes and goes.
  leased_by       integer,
  attempts        integer not null default 0,
  error_class     text,
  error           text,
  parked_at       timestamptz,
  blocked_by      text,
  next_lane       account_sync.lane,
  next_changed_at timestamptz,
  next_request    jsonb,
  -- SHA-256 of the command last accepted whose ids all stand in the source tables.
  fingerprint     text,
  last_synced_at  timestamptz,
  -- The external id of an account that is gone.
  external_id     text,
  constraint clean_rests
    check (changed_at is not null or (due_at is null and lease_token is null and parked_at is null and blocked_by is null)),
  constraint pending_is_either_due_or_parked
    check (changed_at is null or (due_at is null) = (parked_at is not null)),
  constraint lease_has_an_end
    check (lease_token is null or due_at is not null),
  constraint next_round_only_while_leased
    check (next_changed_at is null or lease_token is not null),
  constraint next_round_is_whole
    check ((next_changed_at is null) = (next_lane is null))
) with (
  fillfactor = 70,
  autovacuum_vacuum_scale_factor = 0.02,
  autovacuum_vacuum_threshold = 5000
);

create index account_by_lane_and_due_at on account_sync.account (lane, due_at) where due_at is not null;

create index account_by_blocked_by on account_sync.account (blocked_by) where blocked_by is not null;

create index account_pending_by_changed_at on account_sync.account (changed_at) where changed_at is not null;

-- A marker on its way to becoming accounts: walked in chunks, so that a million accounts never make one long transaction.
create table account_sync.expansion (
  expansion_id bigint generated always as identity primary key,
  marker       text not null,
  marker_id    text,
  lane         account_sync.lane not null,
  request      jsonb,
  changed_at   timestamptz not null,
  -- The last account id that was marked; null at the beginning.
  watermark    text,
  -- Later than now: it failed and is set aside, growing times, so that the other markers go on.
  due_at       timestamptz not null default now(),
  failures     integer not null default 0,
  error        text
);

create unique index expansion_once_per_marker on account_sync.expansion (marker, coalesce(marker_id, ''), lane);

-- Running daemons. Each holds an advisory lock on its number in a session of its own: when the process dies, the lock is gone at
-- once, and the others need not wait for its leases to run out.
create table account_sync.replica (
  replica_id integer primary key,
  started_at timestamptz not null default now(),
  -- A lease's end minus this is when it was taken or last renewed.
  lease_ms   integer not null,
  -- When it last renewed leases. While it does, it lives, whether it holds the lock or not.
  renewed_at timestamptz not null default now(),
  -- Since when nobody holds the lock.
  lost_at    timestamptz
);

-- Which replica answered a NOTIFY first: every replica hears it, one may act on it.
create table account_sync.heard (
  notifier_pid integer not null,
  payload_hash text not null,
  replica_id   integer not null,
  heard_at     timestamptz not null default clock_timestamp(),
  primary key (notifier_pid, payload_hash)
);
