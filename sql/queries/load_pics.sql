-- Contact persons. Passwords and portal columns are never read.
-- $1 account ids
select
  id::text as "id",
  account_id::text as "accountId",
  name as "name",
  phone_no as "phoneNo",
  email as "email",
  no_ktp as "ktp",
  no_npwp as "npwp",
  username as "username",
  coalesce(is_active, true) as "isActive",
  to_char(created_at, 'YYYY-MM-DD HH24:MI:SS.US') as "createdAt",
  case when btrim(uuid_be) <> '' then uuid_be end as "externalId"
from public.m_account_pic
where account_id = any ($1)
