-- Writes down what is about to be sent, before a byte of it goes out. Commits synchronously.
-- $1 account ids   $2 generations   $3 triggers   $4 operations   $5 idempotency keys
-- $6 users   $7 bodies   $8 sent rows   $9 fingerprints   $10 configurations   $11 warnings   $12 field fingerprints
--
-- Repeatable, for when the answer to the commit was lost: the same send finds itself. What does not come back has another
-- unsettled attempt in its way.
insert into account_sync.attempt as t
  (account_id, generation, trigger, operation, delivery, idempotency_key, user_id, body, sent, fingerprint, config_id, warnings, field_fingerprints)
select
  account_id,
  generation,
  trigger,
  operation,
  'sending',
  idempotency_key,
  user_id,
  body,
  sent,
  fingerprint,
  config_id,
  warnings,
  field_fingerprints
from unnest($1::text[], $2::bigint[], $3::text[], $4::text[], $5::uuid[], $6::text[], $7::text[], $8::jsonb[], $9::text[], $10::text[], $11::int[], $12::jsonb[])
  as s (account_id, generation, trigger, operation, idempotency_key, user_id, body, sent, fingerprint, config_id, warnings, field_fingerprints)
on conflict (account_id) where settled_at is null do update set
  delivery = 'sending'
where t.idempotency_key = excluded.idempotency_key and t.delivery = 'sending'
returning account_id as "accountId", attempt_id as "attemptId"
