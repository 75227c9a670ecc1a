-- Writes down what is about to be sent, before a byte of it goes out. Commits synchronously.
-- $1 the sends, a JSON array
--
-- Repeatable, for when the answer to the commit was lost: the same send finds itself. What does not come back has another
-- unsettled attempt in its way.
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
from jsonb_to_recordset($1::jsonb) as s (
  "accountId" text,
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
on conflict (account_id) where settled_at is null do update set
  delivery = 'sending'
where t.idempotency_key = excluded.idempotency_key and t.delivery = 'sending'
returning
  t.account_id as "accountId",
  t.attempt_id as "attemptId",
  -- An API that honours the key answers this create as that one, whose data it then has.
  t.operation = 'create' and exists (
    select
    from account_sync.attempt o
    where o.account_id = t.account_id
      and o.attempt_id < t.attempt_id
      and o.idempotency_key = t.idempotency_key
      and o.delivery in ('sending', 'unknown', 'answered')
      and o.fingerprint <> t.fingerprint
  ) as "keyHadOtherData"
