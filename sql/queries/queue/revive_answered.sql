-- Puts accounts back that were set aside, or wait, for an unknown outcome, when the answer is in the journal after all.
-- $1 account ids, null for all
with wanted as (
  select account_id
  from unnest($1::text[]) as w (account_id)
  union all
  select account_id
  from account_sync.account
  where $1::text[] is null and error_class = 'unknown_outcome'
),
answered as (
  select a.account_id
  from (select account_id from wanted order by account_id) as w
  cross join lateral (
    select a.account_id
    from account_sync.account a
    where a.account_id = w.account_id
      and a.error_class = 'unknown_outcome'
      and (a.parked_at is not null or (a.lease_token is null and a.due_at > now()))
      and exists (
        select from account_sync.attempt t
        where t.account_id = a.account_id and t.settled_at is null and t.delivery = 'answered'
      )
    for update of a
  ) as a
)
update account_sync.account a
set
  parked_at = null,
  due_at = now(),
  attempts = 0,
  failures_alike = 0,
  error_class = null,
  error = null
where a.account_id = any (array(select account_id from answered))
returning a.account_id as "accountId"
