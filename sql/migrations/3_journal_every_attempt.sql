-- One row per try to bring an account to the API: the history, and the journal that keeps a create from doubling.
--
-- A row is written before the request goes out (delivery 'sending'), again when the answer is in ('answered', with the ids), and a
-- last time in the transaction that writes the ids to the source tables. Until then settled_at is null and the row keeps what
-- is needed to go on after a crash: the exact body and key, and which local row stands behind which item.

create table account_sync.attempt (
  attempt_id      bigint generated always as identity primary key,
  account_id      text not null,
  generation      bigint not null,
  trigger         text not null,
  started_at      timestamptz not null default clock_timestamp(),
  finished_at     timestamptz,
  settled_at      timestamptz,
  operation       text,
  delivery        text,
  idempotency_key uuid,
  user_id         text,
  -- The API configuration that was asked for; null for the default one. A repeat goes where the first try went.
  config_id       text,
  -- Kept until settled_at, then removed: it holds personal data.
  body            text,
  sent            jsonb,
  fingerprint     text,
  -- The ids that came back, by local row.
  received        jsonb,
  outcome         text,
  http_status     integer,
  error_class     text,
  error           text,
  updated         jsonb,
  failed          jsonb,
  constraint trigger_is_a_lane check (trigger in ('manual', 'change', 'backfill')),
  constraint operation_is_known check (operation in ('create', 'update', 'delete')),
  constraint delivery_is_known check (delivery in ('sending', 'not_sent', 'not_applied', 'unknown', 'answered')),
  constraint answered_has_ids check (delivery <> 'answered' or received is not null),
  constraint unsettled_can_be_repeated
    check (settled_at is not null or (idempotency_key is not null and sent is not null)),
  constraint settled_keeps_no_personal_data check (settled_at is null or body is null)
);

create unique index attempt_one_unsettled_per_account on account_sync.attempt (account_id) where settled_at is null;

create index attempt_by_age on account_sync.attempt (started_at) where settled_at is not null;

create index attempt_history on account_sync.attempt (account_id, attempt_id);

create view account_sync.history as
select
  account_id,
  started_at,
  finished_at,
  trigger,
  outcome,
  http_status,
  error_class,
  error,
  updated,
  failed
from account_sync.attempt;

create view account_sync.status as
select
  account_id,
  case
    when changed_at is null then 'clean'
    when parked_at is not null then 'parked'
    when lease_token is not null and due_at > now() then 'running'
    when blocked_by is not null then 'blocked'
    when error_class is not null then 'retrying'
    when due_at > now() then 'waiting'
    else 'due'
  end as state,
  changed_at,
  due_at,
  attempts,
  error_class,
  error,
  last_synced_at
from account_sync.account;
