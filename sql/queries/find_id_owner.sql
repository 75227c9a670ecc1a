-- Another account that a customer's external id stands on, or that it was answered to and is about to be written to.
-- $1 external id   $2 the account that would get it
--
-- uuid_be has no index, so this reads all of m_account: for a create whose answer never came, and no other.
select id::text as "accountId"
from public.m_account
where uuid_be = $1::text and id::text <> $2
union all
select account_id
from account_sync.attempt
where settled_at is null and delivery = 'answered' and received ->> 'customer' = $1 and account_id <> $2
limit 1
