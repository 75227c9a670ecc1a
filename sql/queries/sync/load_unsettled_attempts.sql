-- The sends of these accounts that are not settled: to be finished before anything new goes out.
-- $1 account ids   $2 at most so many bytes of a body
select
  account_id as "accountId",
  attempt_id as "attemptId",
  generation as "generation",
  operation as "operation",
  delivery as "delivery",
  http_status as "httpStatus",
  (extract(epoch from clock_timestamp() - started_at) * 1000)::float8 as "sentMsAgo",
  idempotency_key as "idempotencyKey",
  user_id as "userId",
  config_id as "configId",
  case when octet_length(body) <= $2 then body else '' end as "body",
  coalesce(octet_length(body), 0) as "bodyBytes",
  sent as "sent",
  fingerprint as "fingerprint",
  field_fingerprints as "fieldFingerprints",
  warnings as "warnings",
  received as "received",
  -- The same condition as in journal_sends.sql, which says why.
  operation = 'create' and exists (
    select
    from account_sync.attempt o
    where o.account_id = t.account_id
      and o.attempt_id < t.attempt_id
      and o.idempotency_key = t.idempotency_key
      and o.delivery in ('sending', 'unknown', 'answered')
      and o.fingerprint <> t.fingerprint
  ) as "keyHadOtherData"
from account_sync.attempt t
where account_id = any ($1::text[]) and settled_at is null
