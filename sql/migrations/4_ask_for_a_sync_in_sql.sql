-- What a person or an application calls: request, request_all, skip_capture. EXECUTE belongs to the role that migrated and to
-- whom it grants it.
--
-- search_path = pg_catalog, pg_temp: with an empty one, types are looked for in the caller's temporary schema first, and a domain
-- pg_temp.text would run its author's checks with our rights.

-- Wakes a resting daemon. A full notification queue fails other people's commits, so above one half nobody is woken and the
-- daemon's sweep finds the change.
create function account_sync.ring() returns void
language sql volatile security definer set search_path = pg_catalog, pg_temp
as $$
  select pg_notify('account_sync', '')
  where pg_notification_queue_usage() <= 0.5
$$;

-- The id as the source table writes it: 'ABC…' and 'abc…' are one uuid, and must be one row of the queue.
create function account_sync.canonical_id(account_id text) returns text
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
declare
  key_type text;
  canonical text;
begin
  -- Without the length: a cast to varchar(10) cuts a longer id down to somebody else's.
  select format_type(a.atttypid, -1)
  into key_type
  from pg_attribute a
  where a.attrelid = to_regclass('public.m_account') and a.attname = 'id' and not a.attisdropped;

  if key_type is null then
    return account_id;
  end if;

  execute format('select coalesce((select id::text from public.m_account where id = $1::%1$s), ($1::%1$s)::text)', key_type)
  into canonical
  using account_id;
  return canonical;
exception
  when data_exception then
    -- Not an id this table could hold. It is kept as it came, and the sync ends as gone.
    return account_id;
end
$$;

create function account_sync.request(
  account_id text,
  user_id text default null,
  config_id text default null,
  force boolean default true
) returns void
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
begin
  if nullif(request.account_id, '') is null then
    raise exception 'account_sync.request needs the id of an account'
      using errcode = 'invalid_parameter_value', hint = 'To ask for every account call account_sync.request_all().';
  end if;

  -- The queue's primary key takes no more than a third of a page.
  if octet_length(request.account_id) > 1000 then
    raise exception 'account_sync.request was given % bytes as the id of an account', octet_length(request.account_id)
      using errcode = 'invalid_parameter_value', hint = 'Ids are those of m_account.id.';
  end if;

  insert into account_sync.change (account_id, lane, request)
  values (
    account_sync.canonical_id(request.account_id),
    case when coalesce(request.force, true) then 'manual' else 'change' end::account_sync.lane,
    nullif(
      jsonb_strip_nulls(jsonb_build_object(
        'user_id', request.user_id,
        'config_id', request.config_id,
        'force', case when coalesce(request.force, true) then true end
      )),
      '{}'
    )
  );
  perform account_sync.ring();
end
$$;

-- request(id) as it stands in a query over the source table, whatever the type of the key. SECURITY DEFINER, so that a grant on the
-- one that is called is enough.
create function account_sync.request(account_id uuid, user_id text default null, config_id text default null, force boolean default true)
returns void
language sql volatile security definer set search_path = pg_catalog, pg_temp
as $$ select account_sync.request(account_id::text, user_id, config_id, force) $$;

create function account_sync.request(account_id bigint, user_id text default null, config_id text default null, force boolean default true)
returns void
language sql volatile security definer set search_path = pg_catalog, pg_temp
as $$ select account_sync.request(account_id::text, user_id, config_id, force) $$;

-- Every account, in the slow lane.
create function account_sync.request_all(user_id text default null, config_id text default null) returns void
language sql volatile security definer set search_path = pg_catalog, pg_temp
as $$
  insert into account_sync.change (marker, lane, request)
  values (
    'all',
    'backfill',
    nullif(
      jsonb_strip_nulls(jsonb_build_object('user_id', user_id, 'config_id', config_id)),
      '{}'
    )
  );
  select account_sync.ring();
$$;

-- Changes of this transaction are not captured. The mark is the transaction's own id: on a pooled connection it means nothing to
-- the next transaction.
create function account_sync.skip_capture() returns void
language sql volatile security definer set search_path = pg_catalog, pg_temp
as $$
  select set_config('account_sync.skip_capture', pg_current_xact_id()::text, true)
$$;

revoke all on all functions in schema account_sync from public;
