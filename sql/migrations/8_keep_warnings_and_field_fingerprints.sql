-- What validation had to say about the command of an attempt, and which fields of it are like those of another one.
--
-- Both are of use long after the body is gone, and hold no personal data: a number of warnings, and four hex digits per field, which
-- thousands of values have in common (src/sync/fingerprint.ts).

alter table account_sync.attempt
  add column warnings integer not null default 0,
  -- Path in the command → fingerprint of its value; null where nothing was sent, or more fields than are kept.
  add column field_fingerprints jsonb;

create or replace view account_sync.history as
select
  account_id,
  started_at,
  finished_at,
  trigger,
  outcome,
  http_status,
  error_class,
  error,
  updated,
  failed,
  warnings
from account_sync.attempt;
