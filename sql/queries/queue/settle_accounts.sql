-- Applies outcomes to the accounts' rows and gives the leases back. The caller holds the rows (hold_leases).
-- $1 account ids       $2 generation each outcome speaks for   $3 disposition: clean, again, blocked, parked
-- $4 delay, ms (again, blocked)   $5 counts as an attempt      $6 error class   $7 error
-- $8 fingerprint (null: keep)     $9 parent waited for         $10 quiet period, ms   $11 max wait, ms
-- $12 a person's word that a create may be sent again was not used up
--
-- A create whose outcome became unknown stays parked even when somebody asked for a sync meanwhile: whoever asked did not know, and
-- to send it again has to be said by somebody who does.
with settled as (
  select *
  from unnest($1::text[], $2::bigint[], $3::text[], $4::bigint[], $5::boolean[], $6::text[], $7::text[], $8::text[], $9::text[], $12::boolean[])
    as s (account_id, generation, disposition, delay_ms, counts, error_class, error, fingerprint, blocked_by, keeps_retry)
),
-- A change came in since: open a new round, unless the old one is to be repeated first.
decided as (
  select
    s.*,
    a.generation > s.generation
      and (s.disposition in ('clean', 'blocked') or (s.disposition = 'parked' and s.error_class <> 'unknown_outcome'))
      as opens_round,
    coalesce(a.next_lane, a.lane) as round_lane,
    coalesce(a.next_changed_at, a.last_changed_at) as round_changed_at
  from settled s
  join account_sync.account a on a.account_id = s.account_id
)
update account_sync.account a
set
  lease_token = null,
  next_lane = null,
  next_changed_at = null,
  next_request = null,
  fingerprint = coalesce(d.fingerprint, a.fingerprint),
  -- Of a removed account: dealt with, or it is there again.
  external_id = case when d.disposition = 'clean' and not d.opens_round then null else a.external_id end,
  last_synced_at = case when d.disposition = 'clean' and d.fingerprint is not null then now() else a.last_synced_at end,

  lane = case when d.opens_round then d.round_lane else least(a.lane, a.next_lane) end,
  changed_at = case
    when d.opens_round then d.round_changed_at
    when d.disposition = 'clean' then null
    else a.changed_at
  end,
  request = case
    when d.opens_round and a.next_changed_at is not null then a.next_request
    when d.opens_round then a.request
    -- A parked wish is over: what revives the account brings its own.
    when d.disposition in ('clean', 'parked') then null
    when d.keeps_retry then coalesce(a.request, '{}') || coalesce(a.next_request, '{}') || '{"retry": true}'
    else coalesce(a.request || a.next_request, a.request, a.next_request)
  end,
  due_at = case
    when d.opens_round and d.round_lane = 'change'
      then least(a.last_changed_at + $10 * interval '1 ms', d.round_changed_at + $11 * interval '1 ms')
    when d.opens_round then now()
    when d.disposition in ('clean', 'parked') then null
    -- A person asked while the try was running: no backoff for that.
    when a.next_lane = 'manual' then now()
    else now() + d.delay_ms * interval '1 ms'
  end,
  parked_at = case when d.disposition = 'parked' and not d.opens_round then now() end,
  blocked_by = case when d.disposition = 'blocked' and not d.opens_round then d.blocked_by end,
  attempts = case
    when d.disposition = 'clean' or d.opens_round then 0
    when d.counts then a.attempts + 1
    else a.attempts
  end,
  error_class = case when d.disposition <> 'clean' and not d.opens_round then d.error_class end,
  error = case when d.disposition <> 'clean' and not d.opens_round then d.error end
from decided d
where a.account_id = d.account_id
returning
  a.account_id as "accountId"
