-- Applies outcomes to the accounts' rows and gives the leases back. The caller holds the rows (lock_leases).
-- $1 the settlements, a JSON array   $2 quiet period, ms   $3 max wait, ms
--
-- A create whose outcome became unknown stays parked even when a sync was asked for meanwhile: that request did not know of it, and
-- sending it again has to be decided by a person who does.
with settled as (
  select *
  from jsonb_to_recordset($1::jsonb) as s (
    "accountId" text,
    generation bigint,
    disposition text,
    "delayMs" bigint,
    "countsAsAttempt" boolean,
    "failureKind" text,
    "endsCreate" boolean,
    "errorClass" text,
    error text,
    fingerprint text,
    "blockedBy" text,
    request text
  )
),
-- What the row becomes. A change came in since: a new round, unless the old one is to be repeated first.
decided as (
  select
    s.*,
    case
      when a.generation <= s.generation then s.disposition
      when s.disposition in ('clean', 'blocked') then 'new round'
      when s.disposition = 'parked' and s."errorClass" <> 'unknown_outcome' then 'new round'
      else s.disposition
    end as becomes,
    coalesce(a.next_lane, a.lane) as round_lane,
    coalesce(a.next_changed_at, a.last_changed_at) as round_changed_at,
    -- Where it was asked to go, as long as no API has given it an id: corrected data must not make its customer at another one.
    case
      when s.disposition in ('parked', 'blocked') and s.request <> 'dropped'
        then jsonb_strip_nulls(jsonb_build_object('config_id', a.request -> 'config_id'))
      else '{}'
    end as destination
  from settled s
  join account_sync.account a on a.account_id = s."accountId"
  -- By their keys, whatever the planner knows of the table.
  where a.account_id = any (array(select "accountId" from settled))
)
update account_sync.account a
set
  lease_token = null,
  next_lane = null,
  next_changed_at = null,
  next_request = null,
  fingerprint = coalesce(d.fingerprint, a.fingerprint),
  -- Of a removed account: dealt with, or it is there again.
  external_id = case when d.becomes = 'clean' then null else a.external_id end,
  last_synced_at = case when d.disposition = 'clean' and d.fingerprint is not null then now() else a.last_synced_at end,

  lane = case when d.becomes = 'new round' then d.round_lane else least(a.lane, a.next_lane) end,
  changed_at = case d.becomes
    when 'new round' then d.round_changed_at
    when 'clean' then null
    else a.changed_at
  end,
  request = case
    when d.becomes = 'new round' and a.next_changed_at is not null
      then nullif(d.destination || coalesce(a.next_request, '{}'), '{}')
    when d.becomes = 'new round' then a.request
    -- What else was asked for ends with the parking: a request that revives the account brings its own.
    when d.becomes in ('clean', 'parked') then nullif(d.destination, '{}')
    when d.request = 'dropped' then a.next_request
    when d.request = 'kept with retry' then coalesce(a.request, '{}') || coalesce(a.next_request, '{}') || '{"retry": true}'
    when d.request = 'decided' then nullif(coalesce(a.request || a.next_request, a.request, a.next_request) - 'discard' - 'retry', '{}')
    else coalesce(a.request || a.next_request, a.request, a.next_request)
  end,
  due_at = case
    -- Not before now, however long ago it changed: claims go on where the last one ended (claim_accounts.sql).
    when d.becomes = 'new round' and d.round_lane = 'change'
      then greatest(now(), least(a.last_changed_at + $2 * interval '1 ms', d.round_changed_at + $3 * interval '1 ms'))
    when d.becomes = 'new round' then now()
    when d.becomes in ('clean', 'parked') then null
    -- A person asked while the try was running: no backoff for that.
    when a.next_lane = 'manual' then now()
    else now() + d."delayMs" * interval '1 ms'
  end,
  parked_at = case when d.becomes = 'parked' then now() end,
  blocked_by = case when d.becomes = 'blocked' then d."blockedBy" end,
  attempts = case
    when d.becomes in ('clean', 'new round') then 0
    when d."countsAsAttempt" then a.attempts + 1
    else a.attempts
  end,
  failures_alike = case
    when d.becomes in ('clean', 'new round') then 0
    when d."failureKind" is null then a.failures_alike
    when d."failureKind" = a.failure_kind then a.failures_alike + 1
    else 1
  end,
  failure_kind = case when d.becomes not in ('clean', 'new round') then coalesce(d."failureKind", a.failure_kind) end,
  creates_ended = a.creates_ended + case when d."endsCreate" then 1 else 0 end,
  error_class = case when d.becomes not in ('clean', 'new round') then d."errorClass" end,
  error = case when d.becomes not in ('clean', 'new round') then d.error end
from decided d
where a.account_id = d."accountId" and a.account_id = any (array(select "accountId" from settled))
returning
  a.account_id as "accountId"
