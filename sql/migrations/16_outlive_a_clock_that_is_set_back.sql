-- When each of these was written, on the clock that it was written by. Where that is in the future, the database's clock was set back since,
-- and what was meant for a moment would stop all sends for as long.
alter table account_sync.send_rate add column reserved_at timestamptz;

alter table account_sync.api_hold add column asked_at timestamptz not null default clock_timestamp();
