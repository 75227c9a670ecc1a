-- What is known of the command last accepted for an account; fingerprints only.
-- $1 account id, in any form
--
-- The journal's word counts for its fields only while it speaks of the same command as the account's row. What a lookup has found
-- holds no data of ours for sure. The account's row forgets its fingerprint when a send begins, and has it again when the ids stand: until
-- then the API may hold something else.
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
