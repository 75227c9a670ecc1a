-- What stops a replica from sending, as it says itself. The circuit breaker and a refused token live in its memory, and a command that is
-- asked who sends is another process. Written when it changes, never before a send; all null while nothing stops it.
--
-- A replica of a version before this one leaves the columns null, and a replica that is gone says nothing any more: only rows of
-- those that live count.
alter table account_sync.replica
  add column stopped_by    text,
  add column stopped_since timestamptz,
  -- When it tries again; null when that is not known.
  add column stopped_until timestamptz,
  add column stop_reason   text,
  -- When it last wrote here by itself, which it does every few seconds. A process that is stopped or hangs keeps its lock, and writes nothing.
  -- Only told, never a reason to take over: that hangs on the lock and renewed_at alone.
  add column seen_at       timestamptz,
  add constraint stopped_by_what_is_known
    check (stopped_by in ('unauthorized', 'configuration', 'queue_trouble', 'circuit_open', 'retry_after', 'draining')),
  add constraint stop_has_a_beginning_and_a_reason
    check ((stopped_by is null) = (stopped_since is null) and (stopped_by is null) = (stop_reason is null)),
  add constraint only_a_stop_has_an_end
    check (stopped_until is null or stopped_by is not null);

-- The replicas that hold their lock now: the take-over and the question of who sends both begin with these.
create function account_sync.lock_holders(lock_class integer) returns table (replica_id integer)
language sql stable
as $$
  select objid::integer
  from pg_catalog.pg_locks
  where locktype = 'advisory'
    and classid = lock_class::oid
    and objsubid = 2
    and database = (select oid from pg_catalog.pg_database where datname = pg_catalog.current_database())
    and granted
$$;
