-- Applications that know nothing of external ids, and put old ones or none over them: what an ORM, an import and a restored table do.
-- For the simulation and the storms; everything is in a schema of its own.
create schema careless;

-- Whole rows, as the application has read them ('loaded') or as a backup holds them ('backup').
create table careless.kept (name text not null, source text not null, id text not null, content jsonb not null);

-- Tables whose rows belong to an account.
create function careless.child_tables() returns setof text language sql stable as $$
  select t
  from unnest(array['m_account_package_tier', 'm_account_pic', 'm_account_address', 'm_account_bank']) with ordinality as u (t, n)
  where to_regclass('public.' || t) is not null
  order by n
$$;

-- Of these accounts and their rows; of all without a list.
create function careless.keep(name text, account_ids uuid[] default null) returns void language plpgsql as $$
declare
  source text;
begin
  delete from careless.kept k
  where k.name = keep.name
    and (account_ids is null or (coalesce(k.content ->> 'account_id', k.id))::uuid = any (account_ids));
  insert into careless.kept
  select keep.name, 'm_account', a.id::text, to_jsonb(a) from public.m_account a where account_ids is null or a.id = any (account_ids);
  for source in select careless.child_tables() loop
    execute format(
      'insert into careless.kept select $1, %1$L, r.id::text, to_jsonb(r) from public.%1$I r where $2 is null or r.account_id = any ($2)',
      source)
    using name, account_ids;
  end loop;
end
$$;

-- What belongs to an account and was kept is kept without ids: a person who forgets them does so in the application, too.
create function careless.forget_kept(account_id text) returns void language sql as $$
  update careless.kept
  set content = content || '{"uuid_be": null, "branch_uuid_be": null}'
  where id = account_id or content ->> 'account_id' = account_id
$$;

create function careless.columns_of(source text, leaving_out text[]) returns text language sql stable as $$
  select string_agg(quote_ident(attname), ', ' order by attnum)
  from pg_attribute
  where attrelid = ('public.' || source)::regclass and attnum > 0 and not attisdropped and attname <> all (leaving_out)
$$;

-- The whole row as it was, and so what stood in uuid_be then. Whose it is stays as it is now: that one may be gone.
create function careless.save(name text, source text, id text, changes jsonb) returns void language plpgsql as $$
declare
  columns constant text := careless.columns_of(source, array['id', 'parentId', 'account_id']);
begin
  execute format(
    'update public.%1$I t set (%2$s) = (select %2$s from jsonb_populate_record(null::public.%1$I, k.content || $3))
     from careless.kept k where k.name = $1 and k.source = %1$L and k.id = $2 and t.id::text = $2',
    source, columns)
  using name, id, changes;
end
$$;

create function careless.insert_row(source text, content jsonb) returns void language plpgsql as $$
declare
  columns constant text := careless.columns_of(source, '{}');
begin
  execute format('insert into public.%1$I (%2$s) select %2$s from jsonb_populate_record(null::public.%1$I, $1)', source, columns)
  using content;
end
$$;

-- One table as the backup has it. Accounts made since then stay: they would take their rows of other tables along.
create function careless.restore_table(source text, account_ids uuid[] default null) returns void language plpgsql as $$
declare
  k record;
begin
  if source <> 'm_account' then
    execute format('delete from public.%I r where $1 is null or r.account_id = any ($1)', source) using account_ids;
  end if;
  for k in
    select *
    from careless.kept
    where name = 'backup'
      and kept.source = restore_table.source
      and (account_ids is null or (coalesce(content ->> 'account_id', id))::uuid = any (account_ids))
    order by id
  loop
    if source = 'm_account' and exists (select from public.m_account a where a.id::text = k.id) then
      perform careless.save('backup', source, k.id, '{}');
    elsif source = 'm_account' then
      perform careless.insert_row(source, k.content || '{"parentId": null}');
    elsif exists (select from public.m_account a where a.id::text = k.content ->> 'account_id') then
      perform careless.insert_row(source, k.content);
    end if;
  end loop;
end
$$;

-- An import: the account and its rows are deleted and inserted again under their ids, by one that knows no external ids.
create function careless.import_again(account_id uuid) returns void language plpgsql as $$
declare
  without_ids constant jsonb := '{"uuid_be": null, "branch_uuid_be": null}';
  account jsonb;
  children uuid[];
  source text;
  k record;
begin
  select to_jsonb(a) || without_ids into account from public.m_account a where a.id = import_again.account_id;
  if account is null then
    return;
  end if;
  delete from careless.kept where name = 'import ' || import_again.account_id;
  for source in select careless.child_tables() loop
    execute format(
      'insert into careless.kept select $1, %1$L, r.id::text, to_jsonb(r) || $2 from public.%1$I r where r.account_id = $3', source)
    using 'import ' || import_again.account_id, without_ids, import_again.account_id;
    execute format('delete from public.%I r where r.account_id = $1', source) using import_again.account_id;
  end loop;
  select array_agg(a.id) into children from public.m_account a where a."parentId" = import_again.account_id;
  update public.m_account a set "parentId" = null where a.id = any (children);
  delete from public.m_account a where a.id = import_again.account_id;

  perform careless.insert_row('m_account', account);
  for k in select * from careless.kept where name = 'import ' || import_again.account_id order by kept.source, kept.id loop
    perform careless.insert_row(k.source, k.content);
  end loop;
  update public.m_account a set "parentId" = import_again.account_id where a.id = any (children);
end
$$;
