-- What ends a wait that no program can end: retry, discard, adopt, forget. EXECUTE belongs to the role that migrated and to whom it
-- grants it. search_path as in 4_ask_for_a_sync_in_sql.sql.

-- request() with `replace`: an id that stands is replaced by the one that the API answers. Nothing else replaces an id. A function of its
-- own, so that the grants on the other ones stay, and do not include this.
create function account_sync.request(account_id text, replace boolean, user_id text default null, config_id text default null)
returns void
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
begin
  perform account_sync.request(request.account_id, request.user_id, request.config_id);
  if request.replace then
    insert into account_sync.change (account_id, lane, request)
    values (account_sync.canonical_id(request.account_id), 'manual', '{"replace": true}');
  end if;
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

-- Puts accounts back, due at once: parked ones, and where an unfinished send is given up also those that retry. Returns their ids.
create function account_sync.revive(account_ids text[], of_error_class text, discard boolean) returns setof text
language sql volatile security definer set search_path = pg_catalog, pg_temp
as $$
  with kept_back as (
    select account_id
    from account_sync.account
    where (account_id = any (revive.account_ids) or revive.account_ids is null)
      and (error_class = revive.of_error_class or revive.of_error_class is null)
      and lease_token is null
      and (
        parked_at is not null
        or (revive.discard and changed_at is not null and exists (
          select from account_sync.attempt t
          where t.account_id = account.account_id and t.settled_at is null and t.delivery <> 'answered'
        ))
      )
    order by account_id
    for update
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
  returning a.account_id
$$;

-- Puts a parked account back. An unfinished send goes out once more as it was; with `discard` it is given up ("it was not applied") and
-- current data go out instead, also of an account that is retrying. False when there was nothing to put back.
create function account_sync.retry(account_id text, discard boolean default false) returns boolean
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
begin
  perform account_sync.revive(array[account_sync.canonical_id(retry.account_id)], null, coalesce(retry.discard, false));
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
  id constant text := account_sync.canonical_id(adopt.account_id);
  wanted constant text := btrim(adopt.external_id);
  stands text;
  owner text;
  home text;
begin
  if coalesce(wanted, '') = '' or length(wanted) > 255 then
    raise exception 'account_sync.adopt needs an external id of 1 to 255 characters'
      using errcode = 'invalid_parameter_value';
  end if;

  execute format('select coalesce(nullif(btrim(uuid_be), %L), %L) from public.m_account where id::text = $1', '', '')
  into stands
  using id;
  if stands is null then
    raise exception 'There is no account %', id
      using errcode = 'no_data_found', hint = 'Ids are those of m_account.id.';
  end if;

  -- As long as this transaction lasts, no other account gets this id (sql/queries/sync/lock_external_id.sql).
  perform pg_advisory_xact_lock(hashtextextended('account_sync external id ' || wanted, 0));

  select m.external_id
  into stands
  from (
    select nullif(stands, '') as external_id, 1 as rank
    union all
    select m.external_id, 2 from account_sync.mapped_id m where m.account_id = id and m.entity = 'account'
  ) m
  where m.external_id is not null
  order by rank
  limit 1;
  if stands <> wanted then
    raise exception 'Account % has the external id % already', id, stands
      using errcode = 'unique_violation', hint = format('To give it another one, forget that first: select account_sync.forget(%L).', id);
  end if;

  -- Where the customer was seen: at the API that the unfinished send went to, else the one that gave the account its ids, else the one
  -- that it was asked to go to. At another one the same id is another account's customer.
  select
    case
      when t.account_id is not null then t.config_id
      when m.account_id is not null then m.config_id
      else coalesce(a.next_request ->> 'config_id', a.request ->> 'config_id')
    end
  into home
  from (select id as account_id) given
  left join account_sync.attempt t on t.account_id = given.account_id and t.settled_at is null
  left join account_sync.mapped_id m on m.account_id = given.account_id and m.entity = 'account'
  left join account_sync.account a on a.account_id = given.account_id;

  select m.account_id
  into owner
  from account_sync.mapped_id m
  where m.external_id = wanted and m.entity = 'account' and m.account_id <> id and m.config_id is not distinct from home
  limit 1;
  if owner is null then
    execute
      'select a.id::text from public.m_account a where a.uuid_be = $1 and a.id::text <> $2
       and not exists (select from account_sync.mapped_id m where m.account_id = a.id::text and m.entity = ''account'') limit 1'
    into owner
    using wanted, id;
  end if;
  if owner is not null then
    raise exception 'Account % has the external id % already', owner, wanted
      using errcode = 'unique_violation', hint = 'One customer belongs to one account.';
  end if;

  insert into account_sync.mapped_id (account_id, entity, row_id, external_id, config_id)
  values (id, 'account', id, wanted, home)
  on conflict on constraint mapped_id_pkey do nothing;
  execute
    'update public.m_account
     set uuid_be = $1, updated_by = left(session_user, 50), updated_at = localtimestamp
     where id::text = $2 and coalesce(btrim(uuid_be), '''') = '''''
  using wanted, id;
  perform account_sync.request(id);
end
$$;

-- Forgets what is known of an account's ids at the API, so that the next sync creates; or of one tier or contact person, which the next
-- sync adds anew. The only way to a second create. Returns how many ids were forgotten.
create function account_sync.forget(account_id text, tier_id text default null, pic_id text default null) returns integer
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
  id constant text := account_sync.canonical_id(forget.account_id);
  is_whole constant boolean := forget.tier_id is null and forget.pic_id is null;
  leased_until timestamptz;
  has_branch_ids boolean;
  forgotten integer;
begin
  -- From here on no worker takes the account, until this transaction ends.
  insert into account_sync.account as a (account_id, lane, last_changed_at)
  values (id, 'change', now())
  on conflict on constraint account_pkey do update set generation = a.generation
  returning case when a.lease_token is not null then a.due_at end into leased_until;
  if leased_until > clock_timestamp() then
    raise exception 'Account % is being synced right now', id
      using errcode = 'object_in_use', hint = 'Try again in a moment.';
  end if;

  with gone as (
    delete from account_sync.mapped_id m
    where m.account_id = id
      and (
        is_whole
        or (m.entity = 'tier' and m.row_id = forget.tier_id)
        or (m.entity = 'pic' and m.row_id = forget.pic_id)
      )
    returning 1
  )
  select count(*) into forgotten from gone;

  if is_whole then
    select exists (
      select from pg_attribute
      where attrelid = to_regclass('public.m_account') and attname = 'branch_uuid_be' and not attisdropped
    ) into has_branch_ids;
    execute 'update public.m_account set uuid_be = null, updated_by = left(session_user, 50), updated_at = localtimestamp'
      || case when has_branch_ids then ', branch_uuid_be = null' else '' end
      || ' where id::text = $1'
    using id;
  end if;
  if to_regclass('public.m_account_package_tier') is not null and (is_whole or forget.tier_id is not null) then
    execute
      'update public.m_account_package_tier
       set uuid_be = null, updated_by = left(session_user, 50), updated_at = localtimestamp
       where account_id::text = $1 and uuid_be is not null and (id::text = $2 or $2 is null)'
    using id, forget.tier_id;
  end if;
  if to_regclass('public.m_account_pic') is not null and (is_whole or forget.pic_id is not null) then
    execute
      'update public.m_account_pic
       set uuid_be = null, updated_by = left(session_user, 50), updated_at = localtimestamp
       where account_id::text = $1 and uuid_be is not null and (id::text = $2 or $2 is null)'
    using id, forget.pic_id;
  end if;

  if is_whole then
    update account_sync.attempt t
    set
      settled_at = now(),
      finished_at = coalesce(t.finished_at, now()),
      outcome = coalesce(t.outcome, 'retry'),
      error = coalesce(t.error, 'given up: the ids of the account were forgotten'),
      body = null
    where t.account_id = id and t.settled_at is null;
  end if;

  update account_sync.account a
  set
    creates_ended = a.creates_ended + case when is_whole then 1 else 0 end,
    fingerprint = null,
    lease_token = null,
    parked_at = null,
    due_at = case when a.changed_at is not null then now() end,
    attempts = 0,
    failure_kind = null,
    failures_alike = 0,
    error_class = null,
    error = null
  where a.account_id = id;
  perform account_sync.ring();
  return forgotten;
end
$$;

revoke all on all functions in schema account_sync from public;
