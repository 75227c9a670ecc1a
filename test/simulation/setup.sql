-- Plays the database's time. Sessions of the simulation look into this schema first, so that now() and clock_timestamp() of
-- sql/queries/ are found here; the files stay as they are. What is bound already (defaults) is told below; functions with a
-- search_path of their own, and views, keep the real time.
set simulation.now = '2100-01-01';
set simulation.actor = 'judge';

create schema simulation;

create function simulation.now() returns timestamptz language sql stable as $$
  select current_setting('simulation.now')::timestamptz
$$;

create function simulation.clock_timestamp() returns timestamptz language sql stable as $$
  select current_setting('simulation.now')::timestamptz
$$;

alter table account_sync.change alter column changed_at set default simulation.clock_timestamp();
alter table account_sync.attempt alter column started_at set default simulation.clock_timestamp();
alter table account_sync.expansion alter column due_at set default simulation.now();
alter table account_sync.replica alter column started_at set default simulation.now();
alter table account_sync.replica alter column renewed_at set default simulation.now();

-- Of accounts that fall due in the same instant PostgreSQL takes the one that it comes upon first, which autovacuum changes. Here the
-- account's number decides, in microseconds, so that a history is the same whenever it is played.
create function simulation.break_ties() returns trigger language plpgsql as $$
begin
  new.due_at := new.due_at - right(new.account_id, 6)::int * interval '1 microsecond';
  return new;
end
$$;

create trigger break_ties before insert on account_sync.account
for each row execute function simulation.break_ties();

create trigger break_ties_again before update on account_sync.account
for each row when (new.due_at is distinct from old.due_at) execute function simulation.break_ties();

-- What the triggers captured, and for whom they did.
create table simulation.captured (actor text not null, account_id text);

create function simulation.note_capture() returns trigger language plpgsql as $$
begin
  -- Above 1: the statement is a capture trigger's, not a fold's or an expansion's.
  if pg_trigger_depth() > 1 or current_setting('simulation.actor') = 'application' then
    insert into simulation.captured select current_setting('simulation.actor'), account_id from added;
  end if;
  return null;
end
$$;

create trigger note_capture after insert on account_sync.change
referencing new table as added for each statement execute function simulation.note_capture();

insert into public.m_account_type (id, name) values
  ('00000000-0000-4000-8000-0000000000a1', 'parent'),
  ('00000000-0000-4000-8000-0000000000a2', 'branch');
