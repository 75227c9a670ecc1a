-- Writes down what is about to be sent, before a byte of it goes out, and moves the end of leases. Commits synchronously.
-- $1 the sends, a JSON array   $2 lease, ms
--
-- An account that does not come back has been taken over by another process. One that comes back without an attempt is not sent: its API
-- asked all daemons to wait, or another unsettled attempt is in its way. Repeatable, for when the answer to the commit was lost: the same
-- send finds itself.
--
-- From here on it is not known what the API has until it answers: A is accepted, the answer to B is lost, the row is A again; with
-- the fingerprint of A still there this would pass for unchanged. And a person's permission to send a create again, or to give it up, is
-- good for one send: found after a crash, it would send another one that no person has looked at.
with wanted as (
  select *
  from jsonb_to_recordset($1::jsonb) as s (
    "accountId" text,
    "leaseToken" uuid,
    "waitsFor" text,
    generation bigint,
    trigger text,
    operation text,
    "idempotencyKey" uuid,
    "userId" text,
    body text,
    sent jsonb,
    fingerprint text,
    "configId" text,
    warnings int,
    "fieldFingerprints" jsonb
  )
),
held as (
  select a.account_id
  from (select "accountId", "leaseToken" from wanted order by "accountId") as leased
  -- By their keys, whatever the planner knew of the table when it made this plan.
  cross join lateral (
    select a.account_id
    from account_sync.account a
    where a.account_id = leased."accountId" and a.lease_token = leased."leaseToken"
    for update
  ) as a
),
told as (
  select
    held.account_id,
    extract(epoch from h.held_until - clock_timestamp()) * 1000 as wait_ms
  from held
  join wanted on wanted."accountId" = held.account_id
  left join account_sync.api_hold h
    on h.base_url = wanted."waitsFor" and h.held_until > clock_timestamp() and h.asked_at <= clock_timestamp()
),
-- Renewed only where much of the lease is over: due_at is indexed, and most leases have just begun.
begun as (
  update account_sync.account a
  set
    due_at = case when a.due_at > now() + $2 * interval '0.5 ms' then a.due_at else now() + $2 * interval '1 ms' end,
    fingerprint = null,
    request = nullif(a.request - 'retry' - 'discard', '{}')
  where a.account_id = any (array(select told.account_id from told where told.wait_ms is null))
    and (a.fingerprint is not null or a.request is not null or a.due_at <= now() + $2 * interval '0.5 ms')
),
journaled as (
  insert into account_sync.attempt as t
    (account_id, generation, trigger, operation, delivery, idempotency_key, user_id, body, sent, fingerprint, config_id, warnings, field_fingerprints)
  select
    "accountId",
    generation,
    trigger,
    operation,
    'sending',
    "idempotencyKey",
    "userId",
    body,
    sent,
    fingerprint,
    "configId",
    warnings,
    -- JSON null is no value.
    nullif("fieldFingerprints", 'null')
  from wanted
  join told on told.account_id = wanted."accountId"
  where told.wait_ms is null
  on conflict (account_id) where settled_at is null do update set
    delivery = 'sending'
  where t.idempotency_key = excluded.idempotency_key and t.delivery = 'sending'
  returning
    t.account_id,
    t.attempt_id,
    -- An API that honours the key answers this create as that one, whose data it then has. The same condition as in
    -- load_unsettled_attempts.sql, for a send that is found after a crash.
    t.operation = 'create' and exists (
      select
      from account_sync.attempt o
      where o.account_id = t.account_id
        and o.attempt_id < t.attempt_id
        and o.idempotency_key = t.idempotency_key
        and o.delivery in ('sending', 'unknown', 'answered')
        and o.fingerprint <> t.fingerprint
    ) as key_had_other_data
)
select
  told.account_id as "accountId",
  journaled.attempt_id as "attemptId",
  journaled.key_had_other_data as "keyHadOtherData",
  told.wait_ms::float8 as "waitMs"
from told
left join journaled using (account_id)
