-- The id mapping: what the API gave out, kept on our side as well.
--
-- uuid_be belongs to the application, which may put null over it: it saves a whole row as it was loaded before the write-back, an import
-- deletes and inserts the account, a restore brings back last week's table. Each made a second customer. One row per row of theirs,
-- written in the transaction that writes the id back; an update of a customer writes none.
create table account_sync.mapped_id (
  account_id  text not null,
  entity      text not null,
  -- Of account and branch the account's own id.
  row_id      text not null,
  external_id text not null,
  -- The row of m_backend_ext_config by which the API gave the id out; null for the API of the environment's settings.
  config_id   text,
  -- Of an account: where that configuration pointed to, without query, so that a configuration that was replaced is recognised.
  api_url     text,
  since       timestamptz not null default now(),
  primary key (account_id, entity, row_id),
  constraint entity_is_known check (entity in ('account', 'branch', 'tier', 'pic')),
  constraint account_and_branch_are_one_each check (entity in ('tier', 'pic') or row_id = account_id),
  constraint external_id_is_no_blank check (btrim(external_id) <> '')
);

-- Equal for ids that are the same, as src/same-id.ts has it: a GUID means the same in either letter case, any other id is the same only to the
-- last character. Without a search_path of its own, so that queries are planned with what it does; it names the schema of all that it calls.
create function account_sync.comparable_id(id text) returns text
language sql immutable parallel safe
as $$
  select case
    when id operator(pg_catalog.~*) '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' then pg_catalog.lower(id)
    else id
  end
$$;

revoke all on function account_sync.comparable_id(text) from public;

create index mapped_id_by_external_id on account_sync.mapped_id (account_sync.comparable_id(external_id));

create view account_sync.id_mapping as
select
  account_id,
  entity,
  row_id,
  external_id,
  config_id,
  since
from account_sync.mapped_id;

-- How far the walk over the ids has come that stood in the tables before there was a mapping.
create table account_sync.id_takeover (
  is_the_only_one boolean primary key default true,
  -- The last account whose ids were taken over; empty at the beginning.
  watermark       text not null default '',
  finished_at     timestamptz,
  constraint there_is_one_takeover check (is_the_only_one)
);

insert into account_sync.id_takeover default values;

-- The namespace of the idempotency keys of creates. It is restored with the database, so that the same create has the same key; another
-- installation has another one, so that its account 1 is not taken for ours.
create table account_sync.installation (
  installation_id uuid not null default gen_random_uuid(),
  singleton       boolean primary key default true,
  constraint installation_is_one_row check (singleton)
);

insert into account_sync.installation default values;

alter table account_sync.account
  -- Creates that have come to an end (refused, discarded, their customer deleted or forgotten): the ordinal of the next one, which its
  -- idempotency key is derived from.
  add column creates_ended integer not null default 0,
  -- What failed last, and how many times in a row: 'incomplete', 'server 500'.
  add column failure_kind text,
  add column failures_alike integer not null default 0;
