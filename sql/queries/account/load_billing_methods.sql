-- Billing methods.
-- $1 billing method ids
select id::text as "id", method as "value"
from public.m_account_billing_method
where id = any ($1)
