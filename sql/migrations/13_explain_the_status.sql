-- status.explanation: one sentence that says what is going on and what to do.
create or replace view account_sync.status as
select
  account_id,
  state,
  changed_at,
  due_at,
  attempts,
  error_class,
  error,
  last_synced_at,
  case state
    when 'clean' then
      case
        when last_synced_at is null then 'Nothing is to be delivered.'
        else 'Delivered; nothing has changed since.'
      end
    when 'waiting' then 'Changed; it is sent when it has been left alone for the quiet period.'
    when 'due' then 'Due; a daemon that is free sends it.'
    when 'running' then 'It is being synced right now.'
    when 'blocked' then coalesce(error, 'It waits for its parent.')
    else
      case when state = 'parked' then 'Nothing is sent until someone decides. ' else 'It is tried again by itself. ' end
      || case
        when unfinished is not null and (state = 'parked' or error_class = 'unknown_outcome') then format(
          'The outcome of %s is not known: account-sync retry %s sends the same once more; retry %s --discard gives it up and sends current data (it was not applied); adopt %s <external id> takes the customer that it made (it was applied).%s',
          case unfinished when 'create' then 'a create' when 'update' then 'an update' else 'a delete' end,
          account_id, account_id, account_id,
          case when has_newer_data then ' Data that have changed since wait for that.' else '' end
        )
        when state = 'retrying' then 'If it goes on, account-sync status ' || account_id || ' shows what came back.'
        when error_class in ('validation', 'rejected') then 'Correct the data, which sends it by itself; or account-sync retry ' || account_id || '.'
        else 'When the cause is gone: account-sync retry ' || account_id || '.'
      end
  end as explanation
from (
  select
    a.*,
    case
      when changed_at is null then 'clean'
      when parked_at is not null then 'parked'
      when lease_token is not null and due_at > now() then 'running'
      when blocked_by is not null then 'blocked'
      when error_class is not null then 'retrying'
      when due_at > now() then 'waiting'
      else 'due'
    end as state,
    case when a.error_class is not null then (
      select t.operation
      from account_sync.attempt t
      where t.account_id = a.account_id and t.settled_at is null and t.delivery in ('sending', 'unknown')
    ) end as unfinished,
    case when a.error_class is not null then (
      select t.generation < a.generation
      from account_sync.attempt t
      where t.account_id = a.account_id and t.settled_at is null
    ) end as has_newer_data
  from account_sync.account a
) as account;
