-- Writes down the ids that came back, before anything is done with them. Commits synchronously.
-- $1 attempt ids   $2 received ids   $3 HTTP statuses
--
-- No lease is asked for: an id once received is never lost, even when another worker has taken over. The ids of a create may
-- belong to no row, though: it was given up by then (its account removed, another id set by hand), or it was sent again, under the same key, and made
-- another customer. Those are reported.
with answered as (
  select
    attempt_id,
    received,
    http_status
  from unnest($1::bigint[], $2::jsonb[], $3::int[]) as s (attempt_id, received, http_status)
)
update account_sync.attempt t
set
  delivery = 'answered',
  received = s.received,
  http_status = s.http_status
from answered s
join account_sync.attempt before on before.attempt_id = s.attempt_id and before.attempt_id = any ($1::bigint[])
where t.attempt_id = s.attempt_id
  and t.attempt_id = any ($1::bigint[])
  -- Known from the key; PostgreSQL 14 and 15 read the whole index of the history without it, where they planned this for an empty table.
  and t.account_id = before.account_id
returning
  t.account_id as "accountId",
  case
    when t.operation <> 'create' or s.received ->> 'customer' is null then null
    when exists (
      select
      from account_sync.attempt o
      where o.account_id = t.account_id
        and o.attempt_id <> t.attempt_id
        and o.idempotency_key = t.idempotency_key
        and account_sync.comparable_id(o.received ->> 'customer') <> account_sync.comparable_id(s.received ->> 'customer')
    ) then 'made twice'
    -- One that is settled with this answer was not told that it is.
    when t.settled_at is not null and before.delivery is distinct from 'answered' and not exists (
      select
      from account_sync.attempt o
      where o.account_id = t.account_id
        and o.attempt_id > t.attempt_id
        and o.idempotency_key = t.idempotency_key
    ) then 'given up'
  end as "stray"
