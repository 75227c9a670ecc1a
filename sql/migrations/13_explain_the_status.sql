-- status.explanation: one sentence or some that say what is going on and what to do, with commands that can be pasted into a shell. What
-- is said of an unfinished send is said by src/sync/choice.ts in the same words.
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
  case
    when state = 'clean' and last_synced_at is null then 'Nothing is to be delivered: it was not sent yet, or its ids were forgotten. The next sync sends it.'
    when state = 'clean' then 'Delivered; nothing has changed since.'
    when state = 'waiting' then 'Changed; it is sent when it has been left alone for the quiet period.'
    when state = 'due' then 'Due; a daemon that is free sends it.'
    when state = 'running' then 'It is being synced right now.'
    when state = 'blocked' then coalesce(error, 'It waits for its parent.')
    when unfinished in ('create', 'update') then concat_ws(
      ' ',
      case state when 'parked' then 'Nothing is sent until a person decides.' else 'It is tried again by itself.' end,
      case unfinished
        when 'create' then 'A create was sent and its outcome is not known: the customer may exist. Look it up at the API.'
        else 'The outcome of an update is not known: what it adds may exist.'
      end,
      case when unfinished = 'create' then format('It was applied: `account-sync adopt %s <external id>`, which updates it from there.', word) end,
      format('It was not applied: `account-sync retry %s`, which sends current data.', case when account_id like '-%' then '--discard ' || word else word || ' --discard' end),
      case state
        when 'parked' then format('The same once more: `account-sync retry %s`. Newer data wait until then.', word)
        else 'Otherwise it is finished first, and newer data wait until then.'
      end
    )
    -- The error says what to do.
    when error like '%`account-sync %' then
      case
        when state <> 'parked' then 'It is tried again by itself. '
        when error_class = 'unknown_outcome' then 'Nothing is sent until a person decides. '
        else 'Nothing is sent until a person decides, or the account changes. '
      end || error
    when unfinished = 'create not applied' then concat_ws(
      ' ',
      'An earlier create was not applied: it is sent again first, under the same key.',
      case state
        when 'parked' then format('When the cause is gone, or the account changes; or: `account-sync retry %s`.', word)
        else format('If that goes on: `account-sync status %s` shows what came back.', word)
      end
    )
    when state = 'retrying' then format('It is tried again by itself. If that goes on: `account-sync status %s` shows what came back.', word)
    when error_class in ('validation', 'rejected')
      then format('Nothing is sent until its data are corrected, which sends it by itself; or: `account-sync retry %s`.', word)
    else format('Nothing is sent until a person decides, or the account changes. When the cause is gone: `account-sync retry %s`.', word)
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
    -- A send that goes out again as it was before anything newer does (src/sync/choice.ts, holdsNewerBack and isUndecided).
    case when a.error_class is not null then (
      select t.operation || case when t.delivery = 'not_applied' then ' not applied' else '' end
      from account_sync.attempt t
      where t.account_id = a.account_id
        and t.settled_at is null
        and (
          (t.operation = 'create' and t.delivery <> 'answered')
          or (
            t.operation = 'update'
            and t.delivery in ('sending', 'unknown')
            and (
              t.sent ->> 'externalId' is null
              or jsonb_path_exists(t.sent, '$.tiers[*] ? (@.externalId == null)')
              or jsonb_path_exists(t.sent, '$.pics[*] ? (@.externalId == null)')
            )
          )
        )
    ) end as unfinished,
    -- As src/call-on.ts writes it.
    case when a.account_id like '-%' then '-- ' else '' end
      || case
        when a.account_id ~ '^[A-Za-z0-9_@%+=:,./-]+$' then a.account_id
        else '''' || replace(a.account_id, '''', '''\''''') || ''''
      end as word
  from account_sync.account a
) as account;
