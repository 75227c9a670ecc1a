-- What ends a wait that no program can end: retry, discard, adopt, forget. EXECUTE belongs to the role that migrated and to whom it
-- grants it. search_path as in 4_ask_for_a_sync_in_sql.sql. What they raise themselves is marked with the name of our schema, so that
-- commands and console can tell it from an error of the server (src/db/raised.ts).

-- Parts of the functions below. Not SECURITY DEFINER: within those they have the rights of the owner, by themselves only the caller's.

-- The id as the source table writes it. Without one, or with one that no row can have, there is nothing to decide.
create function account_sync.decided_id(account_id text, act text) returns text
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
  if coalesce(btrim(decided_id.account_id), '') = '' or octet_length(decided_id.account_id) > 1000 then
    raise exception 'account_sync.% needs the id of an account', decided_id.act
      using errcode = 'invalid_parameter_value', hint = 'Ids are those of m_account.id.', schema = 'account_sync';
  end if;
  return account_sync.canonical_id(decided_id.account_id);
end
$$;

-- The same for a row of a table that belongs to the account.
create function account_sync.canonical_row_id(source_table text, row_id text) returns text
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
declare
  canonical text;
begin
  if canonical_row_id.row_id is null or not account_sync.has_column(source_table, 'id') then
    return canonical_row_id.row_id;
  end if;
  -- Compared with the key's own type, or the index is of no use.
  execute format(
    'select coalesce((select id::text from public.%1$I where id = $1::%2$s), ($1::%2$s)::text)',
    source_table, account_sync.column_type(source_table, 'id')
  )
  into canonical
  using canonical_row_id.row_id;
  return canonical;
exception
  when data_exception then
    return canonical_row_id.row_id;
end
$$;

-- Without its length, as in canonical_id. null for a table or a column that is not there.
create function account_sync.column_type(source_table text, column_name text) returns text
language sql stable set search_path = pg_catalog, pg_temp
as $$
  select format_type(a.atttypid, -1)
  from pg_attribute a
  where a.attrelid = to_regclass('public.' || source_table) and a.attname = column_name and not a.attisdropped
$$;

-- Whether m_account has the account.
create function account_sync.has_account(account_id text) returns boolean
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
declare
  is_there boolean;
begin
  execute format(
    'select exists (select from public.m_account where id = $1::%s)',
    account_sync.column_type('m_account', 'id')
  )
  into is_there
  using has_account.account_id;
  return is_there;
exception
  when data_exception then
    return false;
end
$$;

-- Keeps folds, claims and workers away from the account until this transaction ends, and refuses while a worker has it. A lease that ran
-- out is taken from its worker, which can then write nothing any more.
create function account_sync.hold_account(account_id text) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  leased_until timestamptz;
begin
  -- One that the queue does not know has no row to lock, and could be folded, claimed and created meanwhile.
  insert into account_sync.account (account_id, lane, last_changed_at)
  values (hold_account.account_id, 'change', now())
  on conflict on constraint account_pkey do nothing;

  -- Locked without a lease, too: a worker would claim it, and not see yet what is decided.
  select case when a.lease_token is not null then a.due_at end
  into leased_until
  from account_sync.account a
  where a.account_id = hold_account.account_id
  for update;

  if leased_until > clock_timestamp() then
    raise exception 'Account % is being synced right now', hold_account.account_id
      using errcode = 'object_in_use', hint = 'Try again in a moment.', schema = 'account_sync';
  end if;

  -- What arrived during the lease belongs to the next round, as in claim_accounts.sql.
  update account_sync.account a
  set
    lease_token = null,
    leased_by = null,
    lane = least(a.lane, a.next_lane),
    request = coalesce(a.request || a.next_request, a.request, a.next_request),
    next_lane = null,
    next_changed_at = null,
    next_request = null
  where a.account_id = hold_account.account_id and a.lease_token is not null;
end
$$;

-- request() with `replace`: an id that stands is replaced by the one that the API answers. Nothing else replaces an id. A function of its
-- own, so that the grants on the other ones stay, and do not include this.
create function account_sync.request(account_id text, replace boolean, user_id text default null, config_id text default null)
returns void
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
begin
  if not coalesce(request.replace, false) then
    perform account_sync.request(request.account_id, request.user_id, request.config_id);
    return;
  end if;
  -- One change: of two, a sync could come in between, and leave the second one with nothing to send.
  insert into account_sync.change (account_id, lane, request)
  values (
    account_sync.decided_id(request.account_id, 'request'),
    'manual',
    jsonb_strip_nulls(jsonb_build_object(
      'user_id', request.user_id,
      'config_id', request.config_id,
      'force', true,
      'replace', true
    ))
  );
  perform account_sync.ring();
end
$$;

create function account_sync.request(account_id uuid, replace boolean, user_id text default null, config_id text default null)
returns void
language sql volatile security definer set search_path = pg_catalog, pg_temp
as $$ select account_sync.request(account_id::text, replace, user_id, config_id) $$;

create function account_sync.request(account_id bigint, replace boolean, user_id text default null, config_id text default null)
returns void
language sql volatile security definer set search_path = pg_catalog, pg_temp
as $$ select account_sync.request(account_id::text, replace, user_id, config_id) $$;

-- Puts accounts back, due at once: parked ones, and where an unfinished send is given up also those that wait to repeat it. One that a
-- worker has is left alone, unless the lease has run out. Returns their ids. Planned with the values: one of 300,000
-- accounts that wait is put back in 1 ms, without them in 180.
create function account_sync.revive(account_ids text[], of_error_class text, discard boolean) returns setof text
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp set plan_cache_mode = force_custom_plan
as $$
begin
  return query
  with kept_back as (
    select k.account_id
    from account_sync.account k
    where (k.account_id = any (revive.account_ids) or revive.account_ids is null)
      and (k.error_class = revive.of_error_class or revive.of_error_class is null)
      and k.changed_at is not null
      and (k.lease_token is null or k.due_at <= now())
      and (
        k.parked_at is not null
        or (revive.discard and exists (
          select from account_sync.attempt t
          where t.account_id = k.account_id and t.settled_at is null and t.delivery <> 'answered'
        ))
      )
    order by k.account_id
    for update of k
  )
  update account_sync.account a
  set
    parked_at = null,
    due_at = now(),
    attempts = 0,
    failure_kind = null,
    failures_alike = 0,
    error_class = null,
    error = null,
    request = coalesce(a.request, '{}')
      || case when revive.discard then '{"discard": true}'::jsonb else '{"retry": true}'::jsonb end
  from kept_back
  where a.account_id = kept_back.account_id
  returning a.account_id;
end
$$;

-- Puts a parked account back. An unfinished send goes out once more as it was; with `discard` it is given up ("it was not applied") and
-- current data go out instead, also of an account that is retrying. False when there was nothing to put back.
create function account_sync.retry(account_id text, discard boolean default false) returns boolean
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
begin
  perform account_sync.revive(
    array[account_sync.decided_id(retry.account_id, 'retry')],
    null,
    coalesce(retry.discard, false)
  );
  if not found then
    return false;
  end if;
  perform account_sync.ring();
  return true;
end
$$;

-- "It was applied": takes this id for the account, writes it to the row, and updates from there.
create function account_sync.adopt(account_id text, external_id text) returns void
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
  is_unknown_there boolean;
  id constant text := account_sync.decided_id(adopt.account_id, 'adopt');
  id_type constant text := account_sync.column_type('m_account', 'id');
  wanted constant text := btrim(adopt.external_id, E' \t\r\n');
  stands text;
  owner text;
  knows_home boolean;
  home text;
  home_url text;
  written bigint;
begin
  -- As an id that the API answers (src/customer-command/answered-id.ts).
  if coalesce(wanted, '') = '' or length(wanted) > 255 then
    raise exception 'account_sync.adopt needs an external id of 1 to 255 characters'
      using errcode = 'invalid_parameter_value', hint = 'It is the id by which the API knows the customer.', schema = 'account_sync';
  end if;
  if not account_sync.has_account(id) then
    raise exception 'There is no account %', id
      using errcode = 'no_data_found', hint = 'Ids are those of m_account.id.', schema = 'account_sync';
  end if;

  -- A create that is under way may be answered with another id.
  perform account_sync.hold_account(id);
  -- As long as this transaction lasts, no other account gets this id (sql/queries/sync/lock_external_id.sql).
  perform pg_advisory_xact_lock(hashtextextended('account_sync external id ' || account_sync.comparable_id(wanted), 0));

  -- The row's id wins over the mapped one, and that over one which was answered and is not written yet.
  execute format('select case when btrim(uuid_be) <> %L then uuid_be end from public.m_account where id = $1::%s', '', id_type)
  into stands
  using id;
  stands := coalesce(
    stands,
    (select m.external_id from account_sync.mapped_id m where m.account_id = id and m.entity = 'account'),
    (
      select t.received ->> 'customer'
      from account_sync.attempt t
      where t.account_id = id and t.settled_at is null and t.delivery = 'answered'
    )
  );
  -- An id that the API does not know (404) is a wrong one, and may be replaced: forgetting it would ask for a create.
  is_unknown_there := exists (
    select
    from account_sync.account a
    cross join lateral (
      select t.operation, t.http_status
      from account_sync.attempt t
      where t.account_id = a.account_id
      order by t.attempt_id desc
      limit 1
    ) last
    where a.account_id = id and a.parked_at is not null and last.operation = 'update' and last.http_status = 404
  );
  if is_unknown_there then
    stands := null;
  end if;
  if account_sync.comparable_id(stands) <> account_sync.comparable_id(wanted) then
    raise exception 'Account % has the external id % already', id, stands
      using errcode = 'object_not_in_prerequisite_state', hint = 'To give it another one, forget its ids first.', schema = 'account_sync';
  end if;

  -- Where the customer was seen: at the API that the unfinished send went to, else the one that gave the account its ids, else the one
  -- that it was asked to go to, else that of the last send. At another one the same id is another account's customer.
  select true, seen.config_id, seen.api_url
  into knows_home, home, home_url
  from (
    select 1 as rank, t.config_id, t.sent #>> '{sentTo,apiUrl}' as api_url
    from account_sync.attempt t
    where t.account_id = id and t.settled_at is null
    union all
    select 2, m.config_id, m.api_url
    from account_sync.mapped_id m
    where m.account_id = id and m.entity = 'account'
    union all
    select 3, coalesce(a.next_request ->> 'config_id', a.request ->> 'config_id'), null
    from account_sync.account a
    where a.account_id = id and coalesce(a.next_request ->> 'config_id', a.request ->> 'config_id') is not null
    union all
    (
      select 4, t.config_id, t.sent #>> '{sentTo,apiUrl}'
      from account_sync.attempt t
      where t.account_id = id and t.operation is not null
      order by t.attempt_id desc
      limit 1
    )
  ) seen
  order by seen.rank
  limit 1;
  knows_home := coalesce(knows_home, false);

  -- Of another API the same id is another customer. Where the API is not known, it is taken for the same one.
  select other.account_id
  into owner
  from (
    select m.account_id, m.config_id
    from account_sync.mapped_id m
    where account_sync.comparable_id(m.external_id) = account_sync.comparable_id(wanted) and m.entity = 'account'
    union all
    select t.account_id, t.config_id
    from account_sync.attempt t
    where t.settled_at is null
      and t.delivery = 'answered'
      and account_sync.comparable_id(t.received ->> 'customer') = account_sync.comparable_id(wanted)
  ) other
  where other.account_id <> id
    and (not knows_home or other.config_id is not distinct from home)
    -- One that is gone owns nothing any more.
    and account_sync.has_account(other.account_id)
  limit 1;
  if owner is null then
    -- uuid_be has no index, so this reads all of m_account, as find_id_owners.sql does.
    execute format(
      'select a.id::text from public.m_account a
       where lower(a.uuid_be) = lower($1)
         and account_sync.comparable_id(a.uuid_be) = account_sync.comparable_id($1)
         and a.id <> $2::%s
         and not ($3 and exists (
           select from account_sync.mapped_id m
           where m.account_id = a.id::text and m.entity = ''account'' and m.config_id is distinct from $4
         ))
       limit 1', id_type
    )
    into owner
    using wanted, id, knows_home, home;
  end if;
  if owner is not null then
    raise exception 'Account % has the external id % already', owner, wanted
      using errcode = 'unique_violation', hint = 'One customer belongs to one account: look up which of the two it is.', schema = 'account_sync';
  end if;

  -- Where nothing tells the API, the update does: it maps the id that stands in the row to the API that took it.
  if knows_home then
    insert into account_sync.mapped_id (account_id, entity, row_id, external_id, config_id, api_url)
    values (id, 'account', id, coalesce(stands, wanted), home, home_url)
    on conflict on constraint mapped_id_pkey do update set external_id = excluded.external_id, since = now()
    where is_unknown_there;
  end if;
  -- Never waits for a row (src/sync/write-back.ts): one that the application has locked gets a mapped id with the update.
  begin
    execute format(
      'update public.m_account
       set uuid_be = $1, updated_by = left(session_user, 50), updated_at = localtimestamp
       where id in (
         select id from public.m_account
         where id = $2::%s and (coalesce(btrim(uuid_be), '''') = '''' or $3)
         for no key update skip locked
       )', id_type
    )
    using coalesce(stands, wanted), id, is_unknown_there;
    get diagnostics written = row_count;
  exception
    when string_data_right_truncation then
      raise exception 'The external id is longer than m_account.uuid_be holds'
        using errcode = 'invalid_parameter_value', hint = 'It is the id by which the API knows the customer.', schema = 'account_sync';
  end;
  -- Nothing else would keep the id.
  if written = 0 and stands is null and not knows_home then
    raise exception 'The row of account % is locked by another transaction', id
      using errcode = 'lock_not_available', hint = 'Try again in a moment.', schema = 'account_sync';
  end if;
  perform account_sync.request(id);
end
$$;

-- Forgets what is known of an account's ids at the API, so that the next sync creates; or of one tier or contact person, which the next
-- sync adds anew. The only way to a second create of an account that has an id. Returns how many ids were forgotten.
create function account_sync.forget(account_id text, tier_id text default '', pic_id text default '') returns integer
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
  id constant text := account_sync.decided_id(forget.account_id, 'forget');
  tier constant text := account_sync.canonical_row_id('m_account_package_tier', nullif(forget.tier_id, ''));
  pic constant text := account_sync.canonical_row_id('m_account_pic', nullif(forget.pic_id, ''));
  is_whole constant boolean := forget.tier_id = '' and forget.pic_id = '';
  is_there constant boolean := account_sync.has_account(id);
  unfinished text;
  forgotten text[];
begin
  -- A variable that was meant to hold the id of one row must not forget the whole account.
  if forget.tier_id is null or forget.pic_id is null then
    raise exception 'account_sync.forget was given null as the id of a tier or a contact person'
      using errcode = 'invalid_parameter_value', hint = 'Leave it out to forget the ids of the whole account.', schema = 'account_sync';
  end if;
  if not is_there
    and not exists (select from account_sync.account a where a.account_id = id)
    and not exists (select from account_sync.mapped_id m where m.account_id = id)
  then
    raise exception 'There is no account %', id
      using errcode = 'no_data_found', hint = 'Ids are those of m_account.id.', schema = 'account_sync';
  end if;
  perform account_sync.hold_account(id);
  -- Nor does the walk over the ids that stood before there was a mapping: it has read them, and would map them again.
  perform from account_sync.id_takeover where finished_at is null for update;

  select t.operation
  into unfinished
  from account_sync.attempt t
  where t.account_id = id and t.settled_at is null and t.delivery in ('sending', 'unknown', 'answered');
  -- It may be repeated as it was, and would bring the id back.
  if unfinished is not null and not is_whole then
    raise exception 'Account % has % that is not finished', id, case unfinished when 'update' then 'an update' else 'a ' || unfinished end
      using errcode = 'object_not_in_prerequisite_state', hint = 'End it first: `account-sync status` with its id says how.', schema = 'account_sync';
  end if;

  with gone as (
    delete from account_sync.mapped_id m
    where m.account_id = id
      and (is_whole or (m.entity = 'tier' and m.row_id = tier) or (m.entity = 'pic' and m.row_id = pic))
    returning m.entity || ' ' || m.row_id as key
  )
  select coalesce(array_agg(key), '{}') into forgotten from gone;

  -- A row that the application has locked is not waited for: it locks parents and children in its own order.
  begin
    if is_there and is_whole then
      forgotten := forgotten
        || account_sync.clear_id('m_account', 'id', id, null, 'uuid_be', 'account')
        || account_sync.clear_id('m_account', 'id', id, null, 'branch_uuid_be', 'branch');
    end if;
    if is_there and (is_whole or tier is not null) then
      forgotten := forgotten || account_sync.clear_id('m_account_package_tier', 'account_id', id, tier, 'uuid_be', 'tier');
    end if;
    if is_there and (is_whole or pic is not null) then
      forgotten := forgotten || account_sync.clear_id('m_account_pic', 'account_id', id, pic, 'uuid_be', 'pic');
    end if;
  exception
    when lock_not_available then
      raise exception 'A row of account % is locked by another transaction', id
        using errcode = 'lock_not_available', hint = 'Try again in a moment.', schema = 'account_sync';
  end;

  if is_whole then
    -- A create that may still be under way is given up by the next sync, once it cannot be any more.
    update account_sync.attempt t
    set
      settled_at = now(),
      finished_at = coalesce(t.finished_at, now()),
      outcome = coalesce(t.outcome, 'retry'),
      error = coalesce(t.error, 'given up: the ids of the account were forgotten'),
      body = null
    where t.account_id = id
      and t.settled_at is null
      and not (t.operation = 'create' and t.delivery in ('sending', 'unknown'));

    update account_sync.account a
    set
      creates_ended = a.creates_ended + 1,
      -- Nothing at the API is known of it any more.
      last_synced_at = null,
      external_id = null,
      request = case
        when exists (select from account_sync.attempt t where t.account_id = id and t.settled_at is null)
          then coalesce(a.request, '{}') || '{"discard": true}'
        else a.request
      end
    where a.account_id = id;
  end if;

  update account_sync.account a
  set
    fingerprint = null,
    parked_at = null,
    due_at = case when a.changed_at is not null then now() end,
    attempts = 0,
    failure_kind = null,
    failures_alike = 0,
    error_class = null,
    error = null
  where a.account_id = id;
  perform account_sync.ring();
  return (select count(distinct key) from unnest(forgotten) as key);
end
$$;

-- Takes the id off a row, or off all rows of the account. Returns what they are to the mapping: 'tier 7'. A part, as the ones above.
create function account_sync.clear_id(
  source_table text,
  account_column text,
  account_id text,
  row_id text,
  id_column text,
  entity text
) returns text[]
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  cleared text[];
begin
  if not account_sync.has_column(source_table, id_column) then
    return '{}';
  end if;
  execute format(
    'with held as (
       select id
       from public.%1$I
       where %2$I = $1::%3$s and (id::text = $2 or $2 is null) and %4$I is not null
       for no key update nowait
     ),
     cleared as (
       update public.%1$I r
       set %4$I = null, updated_by = left(session_user, 50), updated_at = localtimestamp
       from held
       where r.id = held.id
       returning r.id::text as id
     )
     select array_agg(%5$L || '' '' || id) from cleared',
    source_table, account_column, account_sync.column_type(source_table, account_column), id_column, entity
  )
  into cleared
  using clear_id.account_id, clear_id.row_id;
  return coalesce(cleared, '{}');
end
$$;

revoke all on all functions in schema account_sync from public;
