-- The fingerprints of the command last accepted for an account.
-- $1 account id, in any form
--
-- Field fingerprints are taken from the journal only where its attempt sent the command that the account's row names. Customers adopted by a
-- lookup are left out: they need not hold our data. The account's row loses its fingerprint when a send begins and has it again when the ids
-- are written: in between the API may hold other data ("isCurrent" is false).
select
  a.fingerprint is not null as "isCurrent",
  coalesce(a.fingerprint, t.fingerprint) as "fingerprint",
  case when coalesce(a.fingerprint, t.fingerprint) = t.fingerprint then t.field_fingerprints end as "fieldFingerprints"
from (select account_sync.canonical_id($1) as account_id) wanted
left join account_sync.account a on a.account_id = wanted.account_id
left join lateral (
  select
    fingerprint,
    field_fingerprints
  from account_sync.attempt
  where account_id = wanted.account_id
    and delivery = 'answered'
    and operation in ('create', 'update')
    and not coalesce((received ->> 'adopted')::boolean, false)
  order by attempt_id desc
  limit 1
) t on true
