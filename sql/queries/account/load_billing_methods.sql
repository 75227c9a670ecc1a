-- The billing methods of the tiers of these accounts.
-- $1 account ids
--
-- Compared as text, since the two columns may be of different types. The table is small.
select id::text as "id", method as "value"
from public.m_account_billing_method
where id::text = any (array(select billing_method_id::text from public.m_account_package_tier where account_id = any ($1)))
