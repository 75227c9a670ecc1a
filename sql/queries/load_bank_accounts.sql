-- Bank accounts.
-- $1 account ids
select
  id::text as "id",
  account_id::text as "accountId",
  bank_id::text as "bankId",
  bank_account_no as "accountNumber",
  bank_account_holder_name as "holderName",
  bank_account_holder_firstname as "holderFirstname",
  bank_account_holder_lastname as "holderLastname",
  coalesce(is_active, true) as "isActive",
  to_char(created_at, 'YYYY-MM-DD HH24:MI:SS.US') as "createdAt"
from public.m_account_bank
where account_id = any ($1)
