-- Moves a batch of changes into the one row per account, coalescing them.
-- $1 at most so many changes   $2 quiet period, ms   $3 max wait, ms
--
-- Safe with synchronous_commit off: a crash brings the change rows back, which costs one sync more at worst.
-- Upserts run in key order, so that two folds wait for each other instead of deadlocking.
--
-- Of the accounts that fall due at once 64 share a microsecond: a claim goes on where the last one ended (claim_accounts.sql), which must not
-- be in the middle of thousands of equals.
with taken as (
  delete from account_sync.change
  where ctid = any (array(
    select ctid
    from account_sync.change
    limit $1
    for update skip locked
  ))
  returning account_id, marker, marker_id, lane, request, external_id, changed_at
),
expanding as (
  insert into account_sync.expansion as e (marker, marker_id, lane, request, changed_at)
  select
    marker,
    marker_id,
    lane,
    (array_agg(request order by changed_at desc))[1],
    min(changed_at)
  from taken
  where marker is not null
  group by marker, marker_id, lane
  order by marker, marker_id, lane
  -- One that is under way begins anew: the rows it has passed may have changed since.
  on conflict (marker, coalesce(marker_id, ''), lane) do update set
    watermark = null,
    request = excluded.request
  returning 1
),
-- Each thing that was asked for is kept; of two requests for the same thing the later one counts.
asked as (
  select
    taken.account_id,
    jsonb_object_agg(wanted.key, wanted.value order by taken.changed_at) as request
  from taken
  cross join lateral jsonb_each(case when jsonb_typeof(taken.request) = 'object' then taken.request end) as wanted
  where taken.request is not null
  group by taken.account_id
),
per_account as (
  select
    account_id,
    min(lane) as lane,
    min(changed_at) as changed_at,
    max(changed_at) as last_changed_at,
    (array_agg(external_id order by changed_at desc) filter (where external_id is not null))[1] as external_id
  from taken
  -- Longer than what an index entry holds: not an account's id, and must not keep the fold from the others.
  where octet_length(account_id) <= 1000
  group by account_id
),
folded as (
  insert into account_sync.account as a (account_id, lane, changed_at, last_changed_at, request, external_id, due_at)
  select
    account_id,
    lane,
    changed_at,
    last_changed_at,
    asked.request,
    external_id,
    case lane
      when 'change' then least(last_changed_at + $2 * interval '1 ms', changed_at + $3 * interval '1 ms')
      else now() + (row_number() over (order by account_id) - $1) / 64 * interval '1 us'
    end
  from per_account
  left join asked using (account_id)
  order by account_id
  on conflict (account_id) do update set
    generation = a.generation + 1,
    last_changed_at = greatest(a.last_changed_at, excluded.last_changed_at),
    external_id = coalesce(excluded.external_id, a.external_id),
    -- A parked account that is tried again has its tries anew.
    failures_alike = case when a.parked_at is null then a.failures_alike else 0 end,

    -- Leased: the round in flight keeps what it was claimed with; this change opens the next one.
    next_lane = case when a.lease_token is not null then least(a.next_lane, excluded.lane) end,
    next_changed_at = case when a.lease_token is not null then least(a.next_changed_at, excluded.changed_at) end,
    next_request = case when a.lease_token is not null then coalesce(a.next_request || excluded.request, a.next_request, excluded.request) end,

    (request, lane, changed_at, due_at, parked_at, attempts, error_class, error) = (
      with before as (
        select
          case
            when a.lease_token is not null then 'running'
            when a.changed_at is null then 'clean'
            -- Only a person decides over a create that may or may not have happened.
            when a.parked_at is not null and a.error_class = 'unknown_outcome'
              then case excluded.lane when 'manual' then 'revived in doubt' else 'in doubt' end
            when a.parked_at is not null then 'revived'
            when a.blocked_by is not null then 'blocked'
            when a.error_class is not null then 'retrying'
            else 'waiting'
          end as state,
          excluded.last_changed_at + $2 * interval '1 ms' as quiet_at,
          $3 * interval '1 ms' as max_wait
      )
      select
        case
          when state = 'running' then a.request
          -- The person may have looked whether the customer exists: the create may be sent again.
          when state = 'revived in doubt'
            then coalesce(a.request, '{}') || coalesce(excluded.request, '{}') || '{"retry": true}'
          else coalesce(a.request || excluded.request, a.request, excluded.request)
        end,
        -- Leased too: when the lease runs out, the more urgent lane is where the account is claimed again.
        case
          when state in ('clean', 'revived') then excluded.lane
          else least(a.lane, excluded.lane)
        end,
        -- A round begins: of a clean account, of a revived one, and of one that only stood in the backfill's line.
        case
          when state in ('clean', 'revived', 'revived in doubt') then excluded.changed_at
          when state <> 'running' and a.lane = 'backfill' and excluded.lane <> 'backfill' then excluded.changed_at
          else a.changed_at
        end,
        case
          when state = 'running' then a.due_at
          when excluded.lane = 'manual' then excluded.due_at
          when state = 'in doubt' then null
          when excluded.lane = 'backfill' then coalesce(a.due_at, excluded.due_at)
          when state in ('clean', 'revived') then least(quiet_at, excluded.changed_at + max_wait)
          -- Asleep, with its change long behind it: this one may be what it waits for, and further ones must not push it on.
          when state = 'blocked' then least(a.due_at, quiet_at)
          -- Not before backoff: a busy account must not hammer an API that is down.
          when state = 'retrying' then greatest(a.due_at, least(quiet_at, a.changed_at + max_wait))
          -- A person asked and waits: no quiet period for that.
          when a.lane = 'manual' then a.due_at
          when a.lane = 'backfill' then least(quiet_at, excluded.changed_at + max_wait)
          else least(quiet_at, a.changed_at + max_wait)
        end,
        case when state = 'in doubt' then a.parked_at end,
        case when state in ('revived', 'revived in doubt') then 0 else a.attempts end,
        case when state not in ('revived', 'revived in doubt') then a.error_class end,
        case when state not in ('revived', 'revived in doubt') then a.error end
      from before
    )
  returning
    lane,
    due_at
)
select
  (select count(*)::int from taken) as "changes",
  (select count(*)::int from folded) as "accounts",
  (select count(*)::int from expanding) as "markers",
  -- From when on they are due, in microseconds since 1970; of the backfill it is not asked, as nothing waits for that.
  (select (extract(epoch from min(due_at)) * 1000000)::float8 from folded where lane <> 'backfill') as "dueFrom"
