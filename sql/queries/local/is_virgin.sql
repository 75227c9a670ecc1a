-- Whether there never was an account: none in the source table, none that changed.
select
  not exists (select from public.m_account)
    and not exists (select from account_sync.account)
    and not exists (select from account_sync.change) as "isVirgin"
