-- Whether this database never had an account: there is none in the source table, none known to the queue, and no change was captured.
select
  not exists (select from public.m_account)
    and not exists (select from account_sync.account)
    and not exists (select from account_sync.change) as "neverHadAccounts"
