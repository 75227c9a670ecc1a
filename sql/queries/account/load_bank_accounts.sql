-- Bank accounts.
-- $1 account ids   $2 rows of one account at most   $3 bytes of one account at most
--
-- Of an account above these limits one row with its figures is returned, and nothing else: see load_tiers.
select
  found.account_id::text as "accountId",
  found.owner_rows::int as "ownerRows",
  found.owner_bytes::float8 as "ownerBytes",
  b.id::text as "id",
  b.bank_id::text as "bankId",
  b.bank_account_no as "accountNumber",
  b.bank_account_holder_name as "holderName",
  b.bank_account_holder_firstname as "holderFirstname",
  b.bank_account_holder_lastname as "holderLastname",
  coalesce(b.is_active, true) as "isActive",
  to_char(b.created_at, 'YYYY-MM-DD HH24:MI:SS.US') as "createdAt"
from (
  select
    id,
    account_id,
    bank_id,
    bank_account_no,
    bank_account_holder_name,
    bank_account_holder_firstname,
    bank_account_holder_lastname,
    is_active,
    created_at,
    count(*) over owner as owner_rows,
    sum(
      coalesce(octet_length(bank_account_no::text), 0)
      + coalesce(octet_length(bank_account_holder_name::text), 0)
      + coalesce(octet_length(bank_account_holder_firstname::text), 0)
      + coalesce(octet_length(bank_account_holder_lastname::text), 0)
    ) over owner as owner_bytes,
    row_number() over owner as position
  from public.m_account_bank
  where account_id = any ($1)
  window owner as (partition by account_id)
) as found
left join lateral (select found.*) as b on found.owner_rows <= $2 and found.owner_bytes <= $3
where b.id is not null or found.position = 1
